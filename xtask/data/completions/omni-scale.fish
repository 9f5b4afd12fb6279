# Completion of `omni-scale` for fish. Made by `omni-scale completions fish`.

function __omni_scale
    set -l words (commandline -opc)
    $words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null
end

complete -c omni-scale -f -a '(__omni_scale)'
