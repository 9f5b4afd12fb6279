# Completion of `omni-scale` for zsh. Made by `omni-scale completions zsh`; source it after compinit.

__omni_scale() {
    local line help
    local -a values shown
    while IFS=$'\t' read -r line help; do
        values+=("$line")
        shown+=("${line}${help:+  -- $help}")
    done < <(${words[1]} complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#values} )); then
        compadd -l -d shown -a values
    else
        _files
    fi
}
compdef __omni_scale omni-scale
