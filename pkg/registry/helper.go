package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// helperTime is the time limit for a credential helper, which may have to ask the user.
const helperTime = time.Minute

// maxHelperOutput bounds what a credential helper prints, in bytes.
const maxHelperOutput = 1 << 20

// runHelper asks a credential helper for a login, as Docker does. It returns the
// anonymous login if the helper has none.
func runHelper(ctx context.Context, key helperKey) (login, error) {
	if strings.ContainsAny(key.helper, `/\`) {
		return login{}, errors.New("its name contains a path")
	}
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+key.helper, "get")
	cmd.Stdin = strings.NewReader(key.server)
	cmd.WaitDelay = time.Second
	out := &limitedBuffer{limit: maxHelperOutput}
	cmd.Stdout, cmd.Stderr = out, &limitedBuffer{limit: maxHelperOutput}
	if err := cmd.Run(); err != nil {
		// Helpers report on standard output that they have no such login.
		if text := strings.TrimSpace(out.content.String()); strings.Contains(text, "credentials not found") {
			return login{}, nil
		} else if text != "" && len(text) < 200 {
			return login{}, fmt.Errorf("%w: %s", err, text)
		}
		return login{}, err
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out.content.Bytes(), &answer); err != nil {
		return login{}, errors.New("its answer is not JSON")
	}
	if answer.Username == "<token>" {
		return login{IdentityToken: answer.Secret}, nil
	}
	return login{Username: answer.Username, Password: answer.Secret}, nil
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct {
	content bytes.Buffer
	limit   int
}

// Write implements io.Writer.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if n := min(len(p), b.limit-b.content.Len()); n > 0 {
		b.content.Write(p[:n])
	}
	return len(p), nil
}
