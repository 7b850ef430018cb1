"""Real parts that integration tests need: the sample source, the `fimg` command, engines of their own."""
