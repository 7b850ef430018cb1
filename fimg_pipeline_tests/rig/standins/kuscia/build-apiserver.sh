# Sourced in the Dockerfile: Debian's source package of Kubernetes to /kube-apiserver, with the Go of the same Debian.
mkdir -p /go/src/k8s.io
cd /go/src/k8s.io
apt-get source -q kubernetes
mv kubernetes-* kubernetes
cd kubernetes
# The copies of these two that come with it crash when they are compiled by a Go from 1.18 on.
for module in modern-go/reflect2 json-iterator/go; do
    rm -rf "vendor/github.com/$module"
    cp --recursive --dereference "/usr/share/gocode/src/github.com/$module" "vendor/github.com/$module"
    find "vendor/github.com/$module" -name '*_test.go' -delete
done
# Tests of theirs that are packages, and need what is not there.
rm -rf vendor/github.com/json-iterator/go/extra vendor/github.com/json-iterator/go/*_tests
GOPATH=/go CGO_ENABLED=0 make WHAT=cmd/kube-apiserver GOLDFLAGS='-s -w'
cp _output/bin/kube-apiserver /kube-apiserver
