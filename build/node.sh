#!/bin/sh
# Links the pinned Node into node_modules/.bin, where npm scripts find it before the machine's own.
# npm 11 does it while it installs; npm 10 and older leave a program out that several optional packages bring.
link=node_modules/.bin/node
[ -x "$link" ] && exit 0
for program in node_modules/node-*/bin/node; do
  if [ -x "$program" ] && "$program" --version >/dev/null 2>&1; then
    mkdir -p node_modules/.bin
    ln -sf "../../$program" "$link"
    exit 0
  fi
done
exit 0 # a platform without a package of its own: the machine's Node has to do
