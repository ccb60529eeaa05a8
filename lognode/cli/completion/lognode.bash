# Completion of lognode for bash 4 and newer.

_lognode_table=@TABLE@

# What a word of a command takes, into REPLY; nothing where the command has no such word.
_lognode_takes() {
    local command word takes summary
    REPLY=
    while IFS=$'\t' read -r command word takes summary; do
        if [[ $command == "$1" && $word == "$2" ]]; then
            REPLY=$takes
            return
        fi
    done <<<"$_lognode_table"
}

_lognode() {
    local so_far=lognode takes= current=${COMP_WORDS[COMP_CWORD]} i command word kind summary
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        # Bash cuts --option=value into three words.
        [[ ${COMP_WORDS[i]} == = ]] && continue
        if [[ -n $takes ]]; then
            takes=
            continue
        fi
        _lognode_takes "$so_far" "${COMP_WORDS[i]}"
        case $REPLY in
            command) so_far+=" ${COMP_WORDS[i]}" ;;
            '' | -) ;;
            *) takes=$REPLY ;;
        esac
    done
    [[ $current == = ]] && current=
    if [[ -z $takes && $current != -* ]]; then
        _lognode_takes "$so_far" .
        takes=$REPLY
    fi
    case $takes in
        file) compopt -o default ;;
        choice:*)
            takes=${takes#choice:}
            mapfile -t COMPREPLY < <(compgen -W "${takes//,/ }" -- "$current")
            ;;
        '')
            while IFS=$'\t' read -r command word kind summary; do
                [[ $command == "$so_far" && $word == "$current"* ]] || continue
                [[ $current == -* || $kind == command ]] && COMPREPLY+=("$word")
            done <<<"$_lognode_table"
            ;;
    esac
}

complete -F _lognode lognode
