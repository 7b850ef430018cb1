# shellcheck shell=sh
# spark_install VERSION: the Spark that comes with pyspark, at the paths deployments know.
#
#   /spark                                    SPARK_HOME, a link to pyspark's folder in the environment
#   /data/projects/spark-3.1.3-bin-hadoop3.2  the same; KubeFATE mounts spark-defaults.conf below it, whatever the
#                                             version that is installed
#   /data/projects/hadoop                     HADOOP_HOME: core-site.xml, hadoop-command (`hadoop fs`), libhdfs.so (what
#                                             hdfs_build made, mounted at /run/hdfs), and Spark's jars, among which
#                                             pyarrow finds Hadoop's

. /run/fimg/python.sh

spark_install() {
    [ -n "$1" ] || die "spark: no version given (SPARK in fate.env)"
    python=$VIRTUAL_ENV/bin/python
    found=$("$python" -c 'import importlib.metadata as m; print(m.version("pyspark"))' 2> /run/tmp/why) || found=none
    if [ "$found" != "$1" ]; then
        say "spark: the environment has pyspark $found, installing $1"
        # fate.env names it exactly; the date of the requirement files has nothing to do with it.
        (
            unset UV_EXCLUDE_NEWER
            uv pip install --quiet --python "$python" --exclude-newer "$(date +%Y-%m-%d)" "pyspark==$1" 2> /run/tmp/why
        ) || die "SPARK=$1 of fate.env can't be had: $(cat /run/tmp/why)"
        python_finish
    fi
    home=$("$python" -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
    mkdir -p "$home/conf" "$home/logs" "$home/work"
    chmod 755 "$home"/bin/* "$home"/sbin/*
    ln -s "$home" /spark
    ln -s "$home" /data/projects/spark-3.1.3-bin-hadoop3.2
    install -D -m 755 /run/fimg/hadoop-command /data/projects/hadoop/bin/hadoop
    install -D -m 644 /run/fimg/core-site.xml /data/projects/hadoop/etc/hadoop/core-site.xml
    install -D -m 755 /run/hdfs/libhdfs.so /data/projects/hadoop/lib/native/libhdfs.so
    mkdir /data/projects/hadoop/share
    ln -s "$home/jars" /data/projects/hadoop/share/hadoop
    settle /data /spark
}
