package contract

import (
	"regexp"
	"slices"
	"strings"
)

// program is a program that a command line runs.
type program struct {
	name string
	args []string
	root bool // by sudo
}

var (
	shellWords = []string{"if", "then", "else", "elif", "fi", "for", "in", "case", "esac", "while", "until", "do", "done",
		"echo", "cd", "exit", "set", "export",
		"source", ".", "eval", "exec", "read", "printf", "local", "return",
		"break", "continue", "wait", "trap", "shift", "{", "}", "!"}
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// programs returns the programs of a command line, in order: those of each part between
// the shell's operators, and those of the argument of sh -c.
func programs(line string) []program {
	var out []program
	for _, words := range split(line) {
		for len(words) > 0 && assignment.MatchString(words[0]) {
			words = words[1:]
		}
		root := false
		if len(words) > 0 && words[0] == "sudo" {
			out = append(out, program{name: "sudo"})
			root = true
			for words = words[1:]; len(words) > 0 && strings.HasPrefix(words[0], "-"); words = words[1:] {
				if words[0] == "-u" && len(words) > 1 {
					words, root = words[1:], words[1] == "root"
				}
			}
		}
		// for NAME in …: the command of the loop is a separate part.
		if len(words) > 0 && (words[0] == "for" || words[0] == "case") {
			continue
		}
		for len(words) > 0 && slices.Contains([]string{"if", "then", "else", "do", "!", "{", "while", "until"}, words[0]) {
			words = words[1:]
		}
		if len(words) == 0 || slices.Contains(shellWords, words[0]) ||
			strings.HasPrefix(words[0], "<") || strings.HasPrefix(words[0], "$") {
			continue
		}
		out = append(out, program{name: words[0], args: words[1:], root: root})
		switch words[0][strings.LastIndexByte(words[0], '/')+1:] {
		case "sh", "bash":
			i := slices.IndexFunc(words, func(w string) bool { return w == "-c" || w == "-lc" || w == "-ec" })
			if i >= 0 && i+1 < len(words) {
				out = append(out, programs(words[i+1])...)
			}
		}
	}
	return out
}

// split splits a command line at the shell's operators and into words.
func split(line string) [][]string {
	var out [][]string
	var words []string
	var word strings.Builder
	inWord, depth := false, 0
	endWord := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			out = append(out, words)
			words = nil
		}
	}
	var quote rune
	escaped := false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			inWord, escaped = true, false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteRune(c)
			}
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == '(' && strings.HasSuffix(word.String(), "$"), c == '(' && depth > 0:
			depth++
			word.WriteRune(c)
		case c == ')' && depth > 0:
			depth--
			word.WriteRune(c)
		case depth > 0:
			word.WriteRune(c)
		case c == ';' || c == '&' || c == '|' || c == '\n' || c == '(' || c == ')':
			endCommand()
		case c == ' ' || c == '\t':
			endWord()
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	endCommand()
	return out
}
