# shellcheck shell=sh
# Sourced instead of build.sh by RUN steps that run Maven.

. /run/fimg/build.sh

# url_part PART URL: user, password, host or port of a URL.
url_part() {
    fimg_user='(([^:@/]*)(:([^@/]*))?@)?'
    fimg_host='([^:/@]+)(:([0-9]+))?'
    printf '%s\n' "$2" |
        sed -n -E "s#^([a-z]+://)?$fimg_user$fimg_host(/.*)?\$#user=\\3\npassword=\\5\nhost=\\6\nport=\\8#p" |
        sed -n "s/^$1=//p"
}

xml_text() { printf '%s' "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

maven_proxy() {
    [ -n "$2" ] || return 0
    fimg_port=$(url_part port "$2")
    [ -n "$(url_part host "$2")" ] || die "the $1 proxy is not a URL such as http://user:password@host:3128"
    fimg_direct=$(printf %s "${NO_PROXY:-}" | sed 's/ *, */|/g; s/\(^\||\)\./\1*./g')
    printf '<proxy><id>%s</id><active>true</active><protocol>%s</protocol>' "$1" "$1"
    printf '<username>%s</username>' "$(xml_text "$(url_part user "$2")")"
    printf '<password>%s</password>' "$(xml_text "$(url_part password "$2")")"
    printf '<host>%s</host><port>%s</port>' "$(url_part host "$2")" "${fimg_port:-80}"
    printf '<nonProxyHosts>%s</nonProxyHosts></proxy>\n' "$(xml_text "$fimg_direct")"
}

# maven ARGUMENT...: mvn with the mirror, proxy and trust of the build, in the current folder.
maven() {
    {
        echo '<settings>'
        echo "<localRepository>/run/cache/maven</localRepository><proxies>"
        maven_proxy http "${HTTP_PROXY:-}"
        maven_proxy https "${HTTPS_PROXY:-}"
        echo '</proxies><mirrors>'
        if [ -n "${MAVEN_MIRROR:-}" ]; then
            fimg_url=$(printf %s "$MAVEN_MIRROR" | sed 's#//[^/@]*@#//#')
            echo "<mirror><id>mirror</id><mirrorOf>*</mirrorOf><url>$(xml_text "$fimg_url")</url></mirror>"
        fi
        echo '</mirrors><servers>'
        if [ -n "$(url_part user "${MAVEN_MIRROR:-}")" ]; then
            printf '<server><id>mirror</id><username>%s</username><password>%s</password></server>\n' \
                "$(xml_text "$(url_part user "$MAVEN_MIRROR")")" "$(xml_text "$(url_part password "$MAVEN_MIRROR")")"
        fi
        echo '</servers></settings>'
    } > /run/maven-settings.xml
    fimg_trust=
    if [ -s /run/secrets/ca ]; then
        java /run/fimg/TrustStore.java /run/secrets/ca /run/trust.jks
        fimg_trust='-Djavax.net.ssl.trustStore=/run/trust.jks -Djavax.net.ssl.trustStorePassword=changeit'
    fi
    # Compilations are short: optimising the compiler's own code costs more than it gains.
    MAVEN_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC $fimg_trust" mvn --batch-mode --no-transfer-progress \
        -Dmaven.wagon.http.retryHandler.count=5 --settings /run/maven-settings.xml "$@"
}
