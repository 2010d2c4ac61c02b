package render

import (
	"regexp"
	"strconv"
	"strings"
)

// Need is another image that a Dockerfile uses, besides the one it stands on.
type Need struct {
	Reference string
	Line      int // 1-based, in the rendered Dockerfile
}

// instruction is one instruction of a Dockerfile.
type instruction struct {
	line int    // of its first word, 1-based
	name string // in capitals
	args string // continued lines joined, heredocs left out
}

var (
	escapeDirective = regexp.MustCompile("(?i)^#\\s*escape\\s*=\\s*([`\\\\])\\s*$")
	anyDirective    = regexp.MustCompile(`^#\s*[A-Za-z][A-Za-z0-9]*\s*=`)
	heredoc         = regexp.MustCompile(`<<-?\s*(?:"([^"\s]+)"|'([^'\s]+)'|([A-Za-z0-9_][^\s"'<>|&;()]*))`)
)

// instructions cuts a Dockerfile into its instructions. It reads what is needed
// to tell them from each other and leaves their meaning, and all mistakes, to
// the builder.
func instructions(dockerfile []byte) []instruction {
	var out []instruction
	escape := byte('\\')
	directives := true
	var cur *instruction
	var parts []string // what cur's lines have brought so far
	var docs []string  // heredocs whose text follows, by their last line
	finish := func(last string) {
		if cur.args = last; len(parts) > 0 {
			cur.args = strings.TrimSpace(strings.Join(append(parts, last), " "))
			parts = parts[:0]
		}
		if strings.Contains(cur.args, "<<") && (cur.name == "RUN" || cur.name == "COPY" || cur.name == "ADD") {
			docs = heredocs(cur.args)
		}
		out = append(out, *cur)
		cur = nil
	}
	n := -1
	for line := range strings.SplitSeq(string(dockerfile), "\n") {
		n++
		line = strings.TrimSuffix(line, "\r")
		if cur == nil && len(docs) > 0 {
			if strings.TrimLeft(line, "\t") == docs[0] {
				docs = docs[1:]
			}
			continue
		}
		trimmed := strings.TrimSpace(line)
		if directives {
			if m := escapeDirective.FindStringSubmatch(trimmed); m != nil {
				escape = m[1][0]
				continue
			}
			directives = anyDirective.MatchString(trimmed)
		}
		if strings.HasPrefix(trimmed, "#") || (trimmed == "" && cur != nil) {
			continue // both may stand between the lines of one instruction
		}
		if trimmed == "" {
			continue
		}
		part := trimmed
		if cur == nil {
			name, args, _ := cutSpace(trimmed)
			cur, part = &instruction{line: n + 1, name: strings.ToUpper(name)}, args
		}
		if end := len(part) - 1; end >= 0 && part[end] == escape {
			parts = append(parts, strings.TrimSpace(part[:end]))
			continue
		}
		finish(part)
	}
	if cur != nil {
		finish("")
	}
	return out
}

// heredocs returns the ends of the heredocs that begin in an instruction.
func heredocs(args string) []string {
	var ends []string
	for _, m := range heredoc.FindAllStringSubmatchIndex(args, -1) {
		if (m[0] > 0 && args[m[0]-1] == '<') || strings.HasPrefix(args[m[0]:], "<<<") {
			continue // <<< passes one word
		}
		for g := 1; g <= 3; g++ {
			if m[2*g] >= 0 {
				ends = append(ends, args[m[2*g]:m[2*g+1]])
			}
		}
	}
	return ends
}

// bases finds the image that a Dockerfile stands on, which is that of its first
// FROM, with its line, and the further ones that it uses. from is "" if there
// is no FROM.
func bases(dockerfile []byte) (from string, line int, needs []Need) {
	stages := map[string]bool{"scratch": true}
	count := 0
	need := func(ref string, line int) {
		if stages[strings.ToLower(ref)] || ref == "" || ref == from || strings.Contains(ref, "$") {
			return
		}
		for _, n := range needs {
			if n.Reference == ref {
				return
			}
		}
		needs = append(needs, Need{ref, line})
	}
	for _, in := range instructions(dockerfile) {
		switch in.name {
		case "FROM":
			words := strings.Fields(in.args)
			for len(words) > 0 && strings.HasPrefix(words[0], "--") {
				words = words[1:]
			}
			if len(words) == 0 {
				continue
			}
			if line == 0 {
				from, line = words[0], in.line
			} else {
				need(words[0], in.line)
			}
			stages[strconv.Itoa(count)] = true
			count++
			if len(words) == 3 && strings.EqualFold(words[1], "as") {
				stages[strings.ToLower(words[2])] = true
			}
		case "COPY", "ADD", "RUN":
			for word := range strings.FieldsSeq(in.args) {
				if !strings.HasPrefix(word, "--") {
					break
				}
				if ref, ok := strings.CutPrefix(word, "--from="); ok && in.name == "COPY" {
					need(ref, in.line)
				}
				if mount, ok := strings.CutPrefix(word, "--mount="); ok && in.name == "RUN" {
					for part := range strings.SplitSeq(mount, ",") {
						if ref, ok := strings.CutPrefix(part, "from="); ok {
							need(ref, in.line)
						}
					}
				}
			}
		}
	}
	return from, line, needs
}

// cutSpace cuts s at its first white space.
func cutSpace(s string) (before, after string, found bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.TrimSpace(s[i:]), true
}
