package build

import (
	"regexp"
	"strings"
	"sync"
)

// transientMessages match the messages of package managers, pip, npm, git and downloaders
// about failures of a server or the network. Lines are in lower case.
var transientMessages = lazyAlternatives(
	// Name resolution and connections, in the words of the C library and most programs.
	`temporary failure (resolving|in name resolution)`, `could not resolve (host|proxy)`, `server misbehaving`,
	`connection (timed out|reset by peer|refused|aborted|broken|failed)`, `(could not|failed to|unable to) connect to`,
	`failed to establish a new connection`, `network is unreachable`, `no route to host`, `i/o timeout`,
	`tls handshake timeout`, `gnutls recv error`, `remote(disconnected| end closed connection)`, `unexpected eof`,
	`operation timed out`,
	// Server errors: status codes as apt, curl, wget, pip, dnf and BuildKit write them.
	`\b(429  too many requests|50[0-4]  [a-z])`,
	`(http error|status code:?|status|returned error:|http/[0-9.]+) (429|50[0-4])\b`,
	`(429|50[0-4]) (client|server) error`, `too many requests`, `bad gateway`, `service unavailable`, `gateway time-?out`,
	// A mirror that is being updated, or damage in transit.
	`hash sum mismatch`, `file has unexpected size`, `mirror sync in progress`, `undetermined error`,
	`error reading from server`,
	`writing more data than expected`, `bad header (line|data)`, `data socket timed out`,
	`checksum doesn't match`, `checksum (error|mismatch)`, `do not match the hashes from the requirements file`,
	`expected sha256 [0-9a-f]{64}`, `metadata file does not match checksum`,
	`all mirrors were (already )?tried`, `cannot download repomd\.xml`, `repomd(\.xml| xml) parser error`,
	`no more mirrors to try`,
	`curl error \((5|6|7|16|18|28|35|52|55|56|92)\)`, `curl: \((5|6|7|16|18|28|35|52|55|56|92)\)`,
	// pip, npm, git.
	`read timed out`, `readtimeouterror`, `protocolerror`, `incompleteread`, `newconnectionerror`,
	`\b(econnreset|econnrefused|etimedout|eai_again)\b`,
	`unexpected disconnect while reading`, `the remote end hung up unexpectedly`, `early eof`, `rpc failed`,
)

// permanentMessages match messages of failures that would occur again. Lines are in lower
// case.
var permanentMessages = lazyAlternatives(
	`unable to locate package`, `has no installation candidate`, `unmet dependencies`, `version .* was not found`,
	`no match for argument`, `unable to find a match`, `nothing provides`,
	`could not find a version that satisfies`, `no matching distribution found`, `resolutionimpossible`,
	`syntax error`, `no such file or directory`, `command not found`, `: not found$`, `permission denied`,
	`no space left on device`,
	`invalid option`, `unrecognized option`, `modulenotfounderror`, `repository .* does not exist`,
	`exec format error`, `cannot execute binary file`, `invalid elf image`,
)

// lazyAlternatives returns a function that compiles a pattern which matches any of these,
// when it is first called.
func lazyAlternatives(patterns ...string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile("(?:" + strings.Join(patterns, ")|(?:") + ")")
	})
}
