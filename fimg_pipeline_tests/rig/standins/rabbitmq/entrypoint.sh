#!/bin/bash
# As RabbitMQ's image: the default user comes from the environment, and may connect from anywhere.
set -eu
cat > /etc/rabbitmq/rabbitmq.conf <<END
default_user = $RABBITMQ_DEFAULT_USER
default_pass = $RABBITMQ_DEFAULT_PASS
loopback_users = none
END
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
exec rabbitmq-server
