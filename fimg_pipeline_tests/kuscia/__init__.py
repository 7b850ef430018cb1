"""Kuscia's nodes and what is registered on them.

The twelve bugs of the shell tools, and the tests that show that they are none of ours:

1. needs a terminal: all of :mod:`test_registration`, which has none
2. the archive of a failed run is reused: ``test_the_same_tag_of_another_image_is_replaced``,
   ``test_nothing_of_a_run_that_was_stopped_is_taken_for_another_image_of_its_tag``
3. a tag ``2.0`` becomes a number: ``test_a_tag_that_looks_like_something_else_stays_text``
4. ``host:5000/a/b:v9``, digests, no tag: :mod:`test_reference`, ``test_the_app_image_names_what_the_nodes_have``
5. ``docker.io/`` before every name: ``test_the_app_image_names_what_the_nodes_have``
6. only the first two domains: ``test_eleven_lites``
7. a container's name is found within another: ``test_a_domain_that_begins_like_another_is_another``
8. a failed domain ends in success: ``test_a_domain_that_is_missing_or_stopped_fails_before_anything``,
   ``test_a_node_whose_disk_is_full_is_named_and_holds_up_no_other``
9. names Kubernetes refuses: ``test_names_that_kubernetes_would_refuse``, :mod:`test_names`
10. what sed takes for its own: ``test_what_sed_would_take_for_its_own_stays``
11. a fixed temporary folder: ``test_two_at_once``
12. nothing asks the node: ``test_a_node_that_says_it_has_imported_is_not_believed``,
    ``test_a_listed_image_that_is_not_complete_is_imported_again``
"""
