# Completion of lognode for fish: as lognode.fish in a directory of $fish_complete_path, or sourced.

set -g __lognode_rows (string split \n -- @TABLE@)

# What a word of a command takes; nothing where the command has no such word.
function __lognode_takes
    for row in $__lognode_rows
        set -l columns (string split \t -- $row)
        if test "$columns[1]" = "$argv[1]" -a "$columns[2]" = "$argv[2]"
            echo $columns[3]
            return
        end
    end
end

function __lognode_complete
    set -l so_far lognode
    set -l takes
    set -l before ''
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$takes"
            set takes
            continue
        end
        set -l found (__lognode_takes $so_far $word)
        switch "$found"
            case command
                set so_far "$so_far $word"
            case '' -
            case '*'
                set takes $found
        end
    end
    if test -z "$takes"; and string match -q -- '--*=*' $current
        set before (string replace -r -- '=.*' '=' $current)
        set current (string replace -r -- '^[^=]*=' '' $current)
        set takes (__lognode_takes $so_far (string trim -r -c = -- $before))
    else if test -z "$takes"; and not string match -q -- '-*' $current
        set takes (__lognode_takes $so_far .)
    end
    switch "$takes"
        case file
            for path in (__fish_complete_path $current)
                echo -- $before$path
            end
        case 'choice:*'
            for choice in (string split , -- (string replace choice: '' -- $takes))
                echo -- $before$choice
            end
        case ''
            for row in $__lognode_rows
                set -l columns (string split \t -- $row)
                test "$columns[1]" = "$so_far"; or continue
                if test "$columns[3]" = command; or string match -q -- '-*' $columns[2]
                    echo -- $columns[2]\t$columns[4]
                end
            end
    end
end

complete -c lognode -f -a '(__lognode_complete)'
