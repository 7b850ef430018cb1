#!/bin/bash
# As mysql's image: an empty data folder is set up and gets the scripts of /docker-entrypoint-initdb.d, in order.
set -eu
mkdir -p /run/mysqld
chown mysql:mysql /run/mysqld
server=(mariadbd --user=mysql --datadir=/var/lib/mysql)
if [ ! -d /var/lib/mysql/mysql ]; then
    chown mysql:mysql /var/lib/mysql
    mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db > /dev/null
    "${server[@]}" --skip-networking &
    until mariadb-admin ping > /dev/null 2>&1; do sleep 0.5; done
    for script in /docker-entrypoint-initdb.d/*.sql; do
        if [ -f "$script" ]; then
            echo "running $script"
            mariadb < "$script"
        fi
    done
    mariadb -e "CREATE USER 'root'@'%' IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-}'; GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION"
    mariadb-admin shutdown
    wait
fi
exec "${server[@]}" --bind-address=0.0.0.0
