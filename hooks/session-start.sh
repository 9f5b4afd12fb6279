#!/bin/sh
# Prints one line with the provider's health from the last `cargo xtask provider-status`.
#
# Anyone with the checkout can write the state file, and a model reads what this script prints. So the script
# never prints text from the file: the health is one of four words, the time is digits, and anything else prints
# nothing. It uses no network, no cargo and no .env, so that a session starts without waiting.

LC_ALL=C # [0-9] is ten characters in every locale
export LC_ALL

dir=${CLAUDE_PROJECT_DIR:-.}/.claude
state=$dir/omni-scale.local.md

# A link could lead anywhere, and a FIFO would block the session.
if [ -L "$dir" ] || [ -L "$state" ] || [ ! -f "$state" ] || [ ! -r "$state" ]; then
  exit 0
fi

# The value of a front-matter line, without quotes and without the carriage return of a Windows editor.
value_of() {
  value=${1#*:}
  value=${value#"${value%%[! ]*}"}
  value=${value%"${value##*[! ]}"}
  case $value in
    \"*\") value=${value#\"} value=${value%\"} ;;
    \'*\') value=${value#\'} value=${value%\'} ;;
  esac
}

# Reads the front matter on stdin and sets `health` and `checked`; fails on anything that is not front matter.
# It stops at the first closing line: a `---` rule in the body must not open it again.
read_front_matter() {
  cr=$(printf '\r')
  health='' checked='' line=''
  IFS= read -r line || return 1
  [ "${line%"$cr"}" = '---' ] || return 1
  while IFS= read -r line; do
    line=${line%"$cr"}
    case $line in
      ---) return 0 ;;
      # A duplicate key is not valid YAML: refuse it instead of guessing which one is meant.
      provider_status:*)
        [ -z "$health" ] || return 1
        value_of "$line"
        health=$value
        ;;
      last_checked:*)
        [ -z "$checked" ] || return 1
        value_of "$line"
        checked=$value
        ;;
    esac
  done
  return 1
}

# 16 KiB are enough for every front matter that the runner writes; the rest of a larger file is not read.
report=$(
  dd if="$state" bs=16384 count=1 2>/dev/null | {
    read_front_matter || exit 0
    case $health in
      healthy | degraded | down | unknown) ;;
      *) exit 0 ;;
    esac
    day='[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'
    time='[0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
    # shellcheck disable=SC2254 # both are patterns
    case $checked in
      ${day}T${time}Z) checked="last checked $checked" ;;
      *) checked='at a time that was not recorded' ;;
    esac
    printf 'provider status %s, %s' "$health" "$checked"
  } 2>/dev/null
)

if [ -n "$report" ]; then
  printf '{"hookSpecificOutput":{"hookEventName":"SessionStart","additionalContext":"Omni-Scale, from its state file: %s. Live status: /omni-scale:provider-status"}}\n' "$report"
fi
exit 0
