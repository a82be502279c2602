#!/bin/bash
# Runs the tests of the workspace testing/embedding with a Bazel of its own.
#
# The output folder and a disk cache are kept between runs in ~/.cache/watchsnap/embedding.
set -u
root=$(dirname "$(readlink -f WORKSPACE)")
if [ ! -e "$root/testing/embedding/WORKSPACE" ]; then
  echo "embedding_test: $root is no source tree of watchsnap: testing/embedding/WORKSPACE is missing" >&2
  exit 1
fi
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
kept=${XDG_CACHE_HOME:-$HOME/.cache}/watchsnap/embedding
mkdir -p "$kept/disk"
cd "$root/testing/embedding" || exit 1

bazel() { ../../bazelw --output_user_root="$kept/bazel" --max_idle_secs=60 "$@"; }
# What Bazel tells of the test it is in would confuse the one inside.
for variable in $(compgen -e | grep -E '^(TEST_|BAZEL_|BUILD_|RUNFILES_|GTEST_|XML_OUTPUT_FILE|JAVA_RUNFILES|PYTHON_RUNFILES)'); do
  unset "$variable"
done

bazel test //... --disk_cache="$kept/disk" --symlink_prefix=/ --jobs=2 --noshow_progress --curses=no --test_output=errors
code=$?
bazel shutdown
exit $code
