# Fetches clients of a later Debian into a folder (the argument) and installs nothing: the system's
# may be too old for NBD's extended headers.
# Does not fail without them: the tests that need them skip, or fail on CI, and say what was missing.

RELEASE=trixie
PACKAGES="libnbd-bin python3-libnbd qemu-utils"
PROGRAMS="nbdcopy nbdinfo qemu-img qemu-io"

folder=${1:?the folder}
wanted="$RELEASE: $PACKAGES ($PROGRAMS)"
[ "$(cat "$folder/complete" 2>/dev/null)" = "$wanted" ] && exit 0

rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/root" "$folder/apt/lists/partial" "$folder/apt/archives/partial" ||
    exit 1
folder=$(cd "$folder" && pwd) || exit 1
apt=$folder/apt

give_up() {
    rm -rf "$apt"
    echo "$1" >"$folder/missing"
    echo "no newer clients (tests that need them can't run): $1" >&2
    exit 0
}

# The mirror that the system's own packages come from.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | head -n 1
}
command -v apt-get >/dev/null || give_up "they are fetched by apt, which is not here"
uri=$(mirror)
if [ -z "$uri" ] && [ "$(id -u)" = 0 ]; then # perhaps nobody has updated yet
    apt-get update -qq >/dev/null
    uri=$(mirror)
fi
[ -n "$uri" ] || give_up "apt has no mirror of Debian"

# An apt that knows this release only and takes nothing for installed, so that it fetches all that
# the clients need, the C library too.
options="arch=$(dpkg --print-architecture) target=Packages"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keys ] && options="$options signed-by=$keys"
echo "deb [$options] $uri $RELEASE main" >"$apt/sources.list"
: >"$apt/status"
private() {
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
        -o APT::Default-Release=$RELEASE -o APT::Sandbox::User="$(id -un)" \
        -o APT::Update::Error-Mode=any -o Acquire::Retries=1 "$@" >/dev/null
}
private update || give_up "the mirror does not have Debian $RELEASE"
private install -y --download-only --no-install-recommends $PACKAGES ||
    give_up "the mirror does not have all of Debian $RELEASE's $PACKAGES"
for package in "$apt"/archives/*.deb; do
    dpkg-deb --extract "$package" "$folder/root" || give_up "unpacking $package failed"
done
rm -rf "$apt"

# Each runs with the loader and the libraries that it came with; Python is told where its modules are.
libraries=$(dirname "$folder"/root/usr/lib/*/libc.so.6)
for program in $PROGRAMS python3; do
    cat >"$folder/bin/$program" <<END
#!/bin/sh
[ $program = python3 ] && export PYTHONHOME="$folder/root/usr"
exec "$libraries"/ld-linux*.so.* --library-path "$libraries" "$folder/root/usr/bin/$program" "\$@"
END
done
chmod +x "$folder"/bin/*
"$folder/bin/nbdinfo" --version >/dev/null || give_up "what was unpacked does not run"
echo "$wanted" >"$folder/complete"
