#compdef lognode
# Completion of lognode for zsh: as _lognode in a directory of $fpath, or sourced behind compinit.

typeset -g _lognode_table=@TABLE@

# What a word of a command takes, into REPLY; nothing where the command has no such word.
_lognode_takes() {
    local -a found=("${(@M)${(@f)_lognode_table}:#"$1"$'\t'"$2"$'\t'*}")
    REPLY=${${(ps:\t:)found[1]}[3]}
}

_lognode() {
    local so_far=lognode takes= word REPLY row
    local -a commands options columns
    for word in "${(@Q)words[2,CURRENT-1]}"; do
        if [[ -n $takes ]]; then
            takes=
            continue
        fi
        _lognode_takes "$so_far" "$word"
        case $REPLY in
            command) so_far+=" $word" ;;
            ''|-) ;;
            *) takes=$REPLY ;;
        esac
    done
    if [[ -z $takes && $PREFIX == --*=* ]]; then
        _lognode_takes "$so_far" "${PREFIX%%=*}"
        takes=$REPLY
        compset -P 1 '*='
    elif [[ -z $takes && $PREFIX != -* ]]; then
        _lognode_takes "$so_far" .
        takes=$REPLY
    fi
    case $takes in
        file) _files ;;
        choice:*) compadd -- "${(@s:,:)takes#choice:}" ;;
        '')
            for row in "${(@M)${(@f)_lognode_table}:#"$so_far"$'\t'*}"; do
                columns=("${(@ps:\t:)row}")
                if [[ $columns[3] == command ]]; then
                    commands+=("$columns[2]:$columns[4]")
                elif [[ $columns[2] == -* ]]; then
                    options+=("$columns[2]:$columns[4]")
                fi
            done
            if [[ $PREFIX == -* ]]; then
                _describe -o option options
            elif (( $#commands )); then
                _describe command commands
            fi
            ;;
    esac
}

if [[ $funcstack[1] == _lognode ]]; then
    _lognode "$@"
else
    compdef _lognode lognode
fi
