#!/bin/bash
# Starts the parts that a node of ROLE has: lite is containerd, master is etcd and kube-apiserver, autonomy is both.
# Everything that matters afterwards, as on Kuscia's own: the socket, the namespace k8s.io, kubectl that finds its server.
set -eu
role=${1:?lite, master or autonomy}

if [ "$role" != lite ]; then
    mkdir -p /rig/pki
    cd /rig/pki
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=rig-ca -keyout ca.key -out ca.crt
    sign() { # NAME SUBJECT EXTENSION
        openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
        openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
            -extfile <(printf '%s\n' "$3")
    }
    sign server /CN=kube-apiserver subjectAltName=IP:127.0.0.1
    sign admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    openssl genrsa -out accounts.key 2048
    etcd --data-dir /rig/etcd --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 &
    # Debian's kubectl can't write it.
    cat > "$KUBECONFIG" << END
apiVersion: v1
kind: Config
current-context: rig
clusters: [{name: rig, cluster: {server: https://127.0.0.1:6443, certificate-authority: /rig/pki/ca.crt}}]
users: [{name: admin, user: {client-certificate: /rig/pki/admin.crt, client-key: /rig/pki/admin.key}}]
contexts: [{name: rig, context: {cluster: rig, user: admin}}]
END
    kube-apiserver --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port 6443 \
        --etcd-servers http://127.0.0.1:2379 --authorization-mode AlwaysAllow --endpoint-reconciler-type none \
        --disable-admission-plugins ServiceAccount --service-cluster-ip-range 10.96.0.0/16 \
        --client-ca-file ca.crt --tls-cert-file server.crt --tls-private-key-file server.key \
        --service-account-issuer https://rig --service-account-key-file accounts.key \
        --service-account-signing-key-file accounts.key &
    until kubectl apply -f /rig/appimage.crd.yaml; do sleep 0.5; done
    kubectl wait --for condition=established crd/appimages.kuscia.secretflow
fi
if [ "$role" != master ]; then
    mkdir -p /home/kuscia/containerd/root /home/kuscia/containerd/run
    containerd --root /home/kuscia/containerd/root --state /home/kuscia/containerd/run \
        --address /home/kuscia/containerd/run/containerd.sock &
    until ctr -a /home/kuscia/containerd/run/containerd.sock version > /dev/null; do sleep 0.2; done
fi
echo the node is ready
# When one part ends so does the node.
wait -n
