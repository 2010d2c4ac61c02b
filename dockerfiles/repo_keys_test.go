package dockerfiles_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// keyTable returns the fingerprints of base/repo_keys, and of base/repo_keys_sig, which is
// added to it on Oracle Linux, by name and by address.
func keyTable(t *testing.T) (names, addresses map[string]string) {
	t.Helper()
	var text []byte
	for _, file := range []string{"base/repo_keys", "base/repo_keys_sig"} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	names, addresses = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if _, duplicate := names[f[0]]; duplicate {
			t.Errorf("%s is in the table twice", f[0])
		}
		names[f[0]], addresses[f[1]] = strings.Join(f[2:], " "), strings.Join(f[2:], " ")
	}
	return names, addresses
}

// Every repository that is not the distribution's has a key in the table. All but four
// of the keys have a fingerprint.
func TestRepositoriesHaveKnownKeys(t *testing.T) {
	names, addresses := keyTable(t)
	text, err := os.ReadFile("repos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sections map[string]map[string]map[string]any
	if err := yaml.Unmarshal(text, &sections); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for section, repos := range sections {
		for name, fields := range repos {
			if key, ok := fields["gpg_key"].(string); ok && !strings.HasPrefix(key, "/") {
				seen++
				if names[strings.TrimSuffix(key, filepath.Ext(key))] == "" {
					t.Errorf("%s: the key %s of %s is not in base/repo_keys", section, key, name)
				}
			}
			keys, _ := fields["gpgkey"].(string)
			for _, address := range strings.Fields(keys) {
				seen++
				if addresses[address] == "" {
					t.Errorf("%s: the key %s of %s is not in base/repo_keys", section, address, name)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d keys", seen)
	}
	var unpinned []string
	for name, fingerprint := range names {
		if fingerprint == "-" {
			unpinned = append(unpinned, name)
		}
	}
	slices.Sort(unpinned)
	if want := []string{"copr-rabbitmq-erlang", "copr-rabbitmq-erlang-26", "ligenix-qemu-spice",
		"sensu"}; !slices.Equal(unpinned, want) {
		t.Errorf("keys without a fingerprint: %v, want %v", unpinned, want)
	}
}

// keyring is a GnuPG home with keys.
type keyring struct {
	t    *testing.T
	home string
}

func newKeyring(t *testing.T) *keyring {
	// A short path: gpg-agent listens on a socket in it.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	k := &keyring{t, home}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return k
}

func (k *keyring) gpg(args ...string) []byte {
	k.t.Helper()
	cmd := exec.Command(testenv.Program(k.t, "gpg", "gnupg"),
		append([]string{"--homedir", k.home, "--batch", "--quiet", "--passphrase", ""}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		k.t.Fatalf("gpg %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

// add makes a key and returns its fingerprint.
func (k *keyring) add(name, algorithm string) string {
	k.t.Helper()
	k.gpg("--quick-generate-key", name, algorithm, "sign", "never")
	for line := range strings.Lines(string(k.gpg("--with-colons", "--list-keys", name))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	k.t.Fatal("gpg printed no fingerprint")
	return ""
}

// repoKeys runs kolla_repo_keys on a root directory.
func repoKeys(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(testenv.Program(t, "python3", "python3"), append([]string{"base/kolla_repo_keys.py"}, args...)...)
	cmd.Env = append(os.Environ(), "KOLLA_ROOT="+root)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// put writes a file below a directory.
func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Real apt accepts a repository that the expected key signed, and no other; keys that
// are served beside the expected one are left out.
func TestRepoKeysApt(t *testing.T) {
	testenv.Slow(t)
	k := newKeyring(t)
	good, other := k.add("good@example.org", "rsa2048"), k.add("other@example.org", "ed25519")
	files := t.TempDir()
	put(t, files, "both.asc", "A header line\n\n"+string(k.gpg("--armor", "--export")))
	put(t, files, "both.gpg", string(k.gpg("--export")))
	put(t, files, "broken", string(k.gpg("--export"))[:700])
	put(t, files, "page.html", "<html>Sign in</html>")
	for _, signer := range []string{good, other} {
		put(t, files, signer+"/Packages", "")
		release := fmt.Sprintf("Origin: test\nDate: %s\nSHA256:\n %x 0 Packages\n",
			time.Now().UTC().Format(http.TimeFormat), sha256.Sum256(nil))
		put(t, files, signer+"/Release", release)
		put(t, files, signer+"/InRelease",
			string(k.gpg("--local-user", signer, "--output", "-", "--clear-sign", filepath.Join(files, signer, "Release"))))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(server.Close)

	setup := func(address, fingerprint, keyFile, signer string) string {
		root := t.TempDir()
		put(t, root, "etc/kolla/repo_keys", "# a comment\n\nvendor "+server.URL+address+" "+fingerprint+"\n")
		put(t, root, "etc/apt/sources.list.d/v.sources",
			"Types: deb\nUris: "+server.URL+"/"+signer+"\nSuites: ./\nSigned-By: /etc/kolla/apt-keys/"+keyFile+"\n")
		return root
	}
	update := func(root string) error {
		sources := filepath.Join(root, "etc/apt/sources.list.d/v.sources")
		text, err := os.ReadFile(sources)
		if err != nil {
			t.Fatal(err)
		}
		put(t, root, "etc/apt/sources.list.d/v.sources", strings.Replace(string(text), "/etc/kolla", root+"/etc/kolla", 1))
		state := t.TempDir()
		out, err := exec.Command(testenv.Program(t, "apt-get", "apt"), "update", "--error-on=any", "-o",
			"APT::Sandbox::User=root",
			"-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts="+filepath.Dir(sources), "-o",
			"Dir::State::Lists="+state,
			"-o", "Dir::Cache="+t.TempDir(), "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=0").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}

	for _, c := range []struct{ name, address, fingerprint, keyFile string }{
		{"armored", "/both.asc", good, "vendor.asc"},
		{"binary, read as armored", "/both.gpg", good, "vendor.asc"},
		{"by key id", "/both.asc", strings.ToLower(good[24:]), "vendor.gpg"},
		{"two fingerprints", "/both.gpg", strings.Repeat("0", 40) + " " + good, "vendor.gpg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := setup(c.address, c.fingerprint, c.keyFile, good)
			if out, err := repoKeys(t, root); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := update(root); err != nil {
				t.Error(err)
			}
			root = setup(c.address, c.fingerprint, c.keyFile, other)
			if out, err := repoKeys(t, root); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := update(root); err == nil {
				t.Error("apt accepts a repository that another key has signed")
			}
		})
	}
	for _, c := range []struct{ name, address, fingerprint, want string }{
		{"another key", "/both.asc", strings.Repeat("A", 40), "found " + good},
		{"truncated", "/broken", other, "the key is truncated"},
		{"a web page", "/page.html", good, "not an OpenPGP key"},
		{"missing", "/none", good, "curl ended with status"},
		{"a short id", "/both.asc", good[32:], "neither a fingerprint nor a key id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := setup(c.address, c.fingerprint, "vendor.asc", good)
			out, err := repoKeys(t, root)
			if err == nil || !strings.Contains(out, c.want) || strings.Contains(out, "Traceback") {
				t.Errorf("%v, want %q in\n%s", err, c.want, out)
			}
			if leftover, _ := filepath.Glob(root + "/etc/kolla/apt-keys/*"); len(leftover) > 0 {
				t.Errorf("it left %v", leftover)
			}
		})
	}
	t.Run("a given key is kept", func(t *testing.T) {
		root := setup("/none", good, "vendor.asc", good)
		put(t, root, "etc/kolla/apt-keys/vendor.asc", "given")
		if out, err := repoKeys(t, root); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("a key without a line", func(t *testing.T) {
		root := setup("/both.asc", good, "unknown.asc", good)
		if out, err := repoKeys(t, root); err == nil || !strings.Contains(out, "base_remote_apt_keys_append") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("one key by address", func(t *testing.T) {
		root := t.TempDir()
		if out, err := repoKeys(t, root, "mine", server.URL+"/both.asc", good); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := repoKeys(t, root, "mine", server.URL+"/both.asc", strings.Repeat("0", 40)); err == nil {
			t.Errorf("accepted: %s", out)
		}
	})
}

// Repositories of dnf name a checked file instead of the address.
func TestRepoKeysDNF(t *testing.T) {
	testenv.Slow(t)
	k := newKeyring(t)
	good := k.add("good@example.org", "rsa2048")
	k.add("other@example.org", "rsa2048")
	files := t.TempDir()
	put(t, files, "KEY-10", string(k.gpg("--armor", "--export")))
	server := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(server.Close)
	root := t.TempDir()
	put(t, root, "etc/os-release", "ID=rocky\nVERSION_ID=\"10.1\"\n")
	put(t, root, "usr/local/lib/kolla/repo_keys", "vendor "+server.URL+"/KEY-$releasever "+good+"\n")
	put(t, root, "etc/yum.repos.d/v.repo",
		"[v]\nname=v\ngpgkey="+server.URL+"/KEY-$releasever\n       https://unknown.example/KEY\nbaseurl=https://v.example\n")
	out, err := repoKeys(t, root)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "https://unknown.example/KEY") || strings.Contains(out, "https://v.example") {
		t.Errorf("it reports\n%s", out)
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/yum.repos.d/v.repo"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "gpgkey=file:///etc/pki/rpm-gpg/kolla-vendor\n") ||
		strings.Contains(string(text), server.URL) {
		t.Errorf("the repository is\n%s", text)
	}
	rpmdb := t.TempDir()
	rpm := testenv.Program(t, "rpm", "rpm")
	if out, err := exec.Command(rpm, "--dbpath", rpmdb, "--import",
		filepath.Join(root, "etc/pki/rpm-gpg/kolla-vendor")).CombinedOutput(); err != nil {
		t.Fatalf("rpm --import: %v\n%s", err, out)
	}
	list, err := exec.Command(rpm, "--dbpath", rpmdb, "-q", "gpg-pubkey", "--qf", "%{version}\n").CombinedOutput()
	if want := strings.ToLower(good[32:]); err != nil || strings.TrimSpace(string(list)) != want {
		t.Errorf("rpm has the keys %q (%v), want %s", list, err, want)
	}

	put(t, root, "usr/local/lib/kolla/repo_keys", "vendor "+server.URL+"/KEY-$releasever "+strings.Repeat("0", 40)+"\n")
	put(t, root, "etc/yum.repos.d/v.repo", "[v]\ngpgkey="+server.URL+"/KEY-$releasever\n")
	if err := os.Remove(filepath.Join(root, "etc/pki/rpm-gpg/kolla-vendor")); err != nil {
		t.Fatal(err)
	}
	if out, err := repoKeys(t, root); err == nil {
		t.Errorf("another key is accepted: %s", out)
	}
}

// The keys of a repository are found in every form that dnf reads.
func TestRepoKeysFormsOfDNF(t *testing.T) {
	testenv.Slow(t)
	k := newKeyring(t)
	good := k.add("good@example.org", "rsa2048")
	files := t.TempDir()
	put(t, files, "KEY-10", string(k.gpg("--armor", "--export")))
	server := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(server.Close)
	known := server.URL + "/KEY-$releasever"
	for _, c := range []struct{ name, text, reported string }{
		{"spaces around the sign", "gpgkey = KNOWN\n", ""},
		{"tab, unknown", "gpgkey\t=\thttps://other.example/KEY\n", "https://other.example/KEY"},
		{"list with spaces", "gpgkey=https://other.example/KEY KNOWN\n", "https://other.example/KEY"},
		{"list with commas", "gpgkey=KNOWN,https://other.example/KEY,file:///etc/KEY\n", "https://other.example/KEY"},
		{"lines", "gpgkey=\n  KNOWN\n# a comment https://comment.example/KEY\n\n\thttp://other.example/KEY\nenabled=1\n",
			"http://other.example/KEY"},
		{"ftp", "gpgkey = ftp://other.example/KEY", "ftp://other.example/KEY"},
		{"braces", "gpgkey=" + strings.Replace(known, "$releasever", "${releasever}", 1), ""},
		{"the end of the option", "gpgkey=KNOWN\nbaseurl=https://other.example/KEY\n  https://other.example/2\n", ""},
		{"a longer address", "gpgkey=KNOWN.asc\n", known + ".asc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, "etc/os-release", "VERSION_ID=10\n")
			put(t, root, "usr/local/lib/kolla/repo_keys", "vendor "+known+" "+good+"\n")
			text := "[v]\nname=v\n" + strings.ReplaceAll(c.text, "KNOWN", known)
			put(t, root, "etc/yum.repos.d/v.repo", text)
			out, err := repoKeys(t, root)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := strings.Count(out, "\n"); c.reported == "" && got > 0 || c.reported != "" &&
				(got != 1 || !strings.HasSuffix(out, " "+c.reported+"\n")) {
				t.Errorf("it reports %q, want %q", out, c.reported)
			}
			read, err := os.ReadFile(filepath.Join(root, "etc/yum.repos.d/v.repo"))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(strings.ReplaceAll(text, "${releasever}", "$releasever"), known,
				"file:///etc/pki/rpm-gpg/kolla-vendor")
			if c.name == "a longer address" {
				want = text
			}
			if string(read) != want {
				t.Errorf("the repository is\n%s\nwant\n%s", read, want)
			}
		})
	}
}
