# bash completion for bulkhead(1). The program itself knows what may follow; see src/cli/cmd_complete.c.
# SPDX-License-Identifier: Apache-2.0

_bulkhead()
{
	local cur=${COMP_WORDS[COMP_CWORD]} line
	local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")

	COMPREPLY=()
	[[ ${#words[@]} -eq 0 ]] && words=("")
	while IFS= read -r line; do
		case $line in
		@file) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
		@dir) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur") ;;
		*) COMPREPLY+=("$line") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
	return 0
}
complete -o filenames -F _bulkhead bulkhead
