package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// unpack returns the files of a tar in their order.
func unpack(t testing.TB, b []byte) []item {
	t.Helper()
	var items []item
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		content := must[[]byte](t)(io.ReadAll(tr))
		items = append(items, item{tar.Header{Name: h.Name, Typeflag: h.Typeflag, Size: h.Size}, string(content)})
	}
}

func manifestOf(t testing.TB, b []byte) *Manifest {
	t.Helper()
	for _, i := range unpack(t, b) {
		if i.h.Name == manifestFile {
			return must[*Manifest](t)(parseManifest([]byte(i.c)))
		}
	}
	t.Fatal("no manifest")
	return nil
}

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// The manifest lists every other file with its size and digest.
func TestManifestListsEverything(t *testing.T) {
	s, entries := fill(t)
	_, key := newKey(t)
	b := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries,
		SaveOptions{Tool: "kolla-build 1", Configuration: map[string]string{"base": "debian"}, SignKey: key})))
	m := manifestOf(t, b)
	if m.Tool != "kolla-build 1" || m.Configuration["base"] != "debian" || len(m.Images) != 2 {
		t.Errorf("%+v", m)
	}
	if i := m.Images[0]; i.Name != refA || i.Digest != entries[0].Digest || i.Key != entries[0].Key ||
		i.Size != entries[0].Size || len(i.Platforms) != 1 || i.Platforms[0] != "linux/amd64" {
		t.Errorf("%+v", i)
	}
	listed := map[string]ManifestFile{}
	for _, f := range m.Files {
		listed[f.Name] = f
	}
	for _, i := range unpack(t, b) {
		if i.h.Typeflag == tar.TypeDir || i.h.Name == manifestFile || i.h.Name == signatureFile {
			continue
		}
		if f := listed[i.h.Name]; f.Size != i.h.Size || f.sum() != digest.FromString(i.c) {
			t.Errorf("%s: %+v", i.h.Name, f)
		}
		delete(listed, i.h.Name)
	}
	if len(listed) > 0 {
		t.Errorf("listed, but not there: %v", listed)
	}
}

// A bit that changes a name in index.json, or anything else that is not a blob, is
// noticed before a name is stored.
func TestDamageOutsideBlobs(t *testing.T) {
	s, entries := fill(t)
	intact := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{})))
	for _, text := range []string{"nova-api:2026.1", `"imageLayoutVersion"`, `"RepoTags"`, "io.kolla-build.key"} {
		for at := 0; ; at++ {
			n := bytes.Index(intact[at:], []byte(text))
			if n < 0 {
				break
			}
			at += n
			b := bytes.Clone(intact)
			b[at+2] ^= 1
			to := openStore(t)
			_, err := loadBytes(t, to, b, LoadOptions{})
			if entries, _ := to.Entries(); err == nil || len(entries) > 0 {
				t.Errorf("%q at %d: %v, %d names", text, at, err, len(entries))
			}
		}
	}
}

// Added, removed, doubled and exchanged files are noticed, in any order.
func TestHostileManifest(t *testing.T) {
	s, entries := fill(t)
	items := unpack(t, must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{}))))
	find := func(name string) int {
		for i := range items {
			if strings.HasPrefix(items[i].h.Name, name) && items[i].h.Typeflag == tar.TypeReg {
				return i
			}
		}
		t.Fatal(name)
		return 0
	}
	manifest, blob := find(manifestFile), find("blobs/sha256/")
	extra := digest.FromString("extra")
	with := func(change func(m string) string) []item {
		changed := append([]item(nil), items...)
		body, _, _ := strings.Cut(changed[manifest].c, checkField)
		changed[manifest].c = string(seal([]byte(change(body + "}"))))
		changed[manifest].h.Size = 0
		return changed
	}
	last := append(append([]item(nil), items[:manifest]...), append(items[manifest+1:], items[manifest])...)
	for _, c := range []struct {
		name  string
		items []item
		says  string
	}{
		{"manifest last", last, ""},
		{"blob missing", append(append([]item(nil), items[:blob]...), items[blob+1:]...), "it is missing"},
		{"blob added", append(append([]item(nil), items...), item{tar.Header{Name: blobName(extra)}, "extra"}), "does not list it"},
		{"file added", append(append([]item(nil), items...), item{tar.Header{Name: "repositories"}, "{}"}), "does not list it"},
		{"listed twice", with(func(m string) string {
			return strings.Replace(m, `"files":[`, `"files":[{"name":"oci-layout","size":30,"digest":"`+extra.String()+`"},`, 1)
		}), "occurs twice"},
		{"listed and not there", with(func(m string) string {
			return strings.Replace(m, `"files":[`, `"files":[{"name":"`+blobName(extra)+`","size":5},`, 1)
		}), "it is missing"},
		{"leads out", with(func(m string) string { return strings.Replace(m, `"name":"oci-layout"`, `"name":"../oci-layout"`, 1) }), "not a path within the bundle"},
		{"lists itself", with(func(m string) string {
			return strings.Replace(m, `"name":"oci-layout"`, `"name":"`+manifestFile+`"`, 1)
		}), "may not be listed"},
		{"no digest", with(func(m string) string { return strings.Replace(m, `"digest":"sha256:`, `"digest":"md5:`, 3) }), "no digest"},
		{"negative size", with(func(m string) string { return strings.Replace(m, `"size":30`, `"size":-30`, 1) }), "negative"},
		{"other image", with(func(m string) string { return strings.Replace(m, "nova-api:2026.1", "nova-api:2026.2", 1) }), "not those of"},
		{"later version", with(func(m string) string { return strings.Replace(m, `"kolla-bundle":1`, `"kolla-bundle":2`, 1) }), "this program knows 1"},
		{"later field", with(func(m string) string {
			return strings.Replace(m, `{"kolla-bundle":1`, `{"more":[{"a":[1]}],"kolla-bundle":1`, 1)
		}), ""},
		{"no end", with(func(m string) string { return `{"kolla-bundle":1,"files":[` + strings.Repeat("[", 1000) }), "not the manifest"},
		{"changed", append(append([]item(nil), items[:manifest]...), append([]item{{tar.Header{Name: manifestFile}, strings.Replace(items[manifest].c, "key of", "key to", 1)}}, items[manifest+1:]...)...), "digest that it ends with"},
		{"too many images", with(func(m string) string {
			return `{"kolla-bundle":1,"images":[` + strings.Repeat("{},", maxImages) + "{}]}"
		}), "more than 50000 entries"},
		{"too many files", with(func(m string) string {
			return `{"kolla-bundle":1,"files":[` + strings.Repeat(`{"name":"x"},`, 2) + "{}]}"
		}), "no digest"},
		{"large entry", with(func(m string) string {
			return `{"kolla-bundle":1,"images":[{"name":"` + strings.Repeat("x", maxManifestEntry) + `"}]}`
		}), "more than 65536"},
		{"two documents", with(func(m string) string { return m + m }), "not the manifest"},
	} {
		to := openStore(t)
		_, err := loadBytes(t, to, makeTar(t, c.items...), LoadOptions{})
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if entries, _ := to.Entries(); len(entries) != 0 {
			t.Errorf("%s: %d names were stored", c.name, len(entries))
		}
	}
}

// With a key, only content that it signed is read, and content keys count.
func TestSignature(t *testing.T) {
	s, entries := fill(t)
	public, private := newKey(t)
	other, _ := newKey(t)
	signed := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{SignKey: private})))
	unsigned := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{})))

	to := openStore(t)
	sum := must[Summary](t)(loadBytes(t, to, signed, LoadOptions{VerifyKey: public}))
	if e, ok, _ := to.ByKey(entries[0].Key); !sum.Signed || !ok || e.Kind != store.KindBuilt {
		t.Errorf("signed: %+v, %+v", sum, e)
	}
	to = openStore(t)
	sum = must[Summary](t)(loadBytes(t, to, signed, LoadOptions{}))
	if _, ok, _ := to.ByKey(entries[0].Key); ok || sum.Signed {
		t.Error("without a key, a signature counts")
	}

	items := unpack(t, signed)
	forged := unpack(t, signed)
	for i := range forged {
		if forged[i].h.Name == manifestFile {
			body, _, _ := strings.Cut(strings.Replace(forged[i].c, "key of", "key to", 1), checkField)
			forged[i].c = string(seal([]byte(body + "}")))
		}
	}
	short := unpack(t, signed)
	for i := range short {
		if short[i].h.Name == signatureFile {
			short[i].c, short[i].h.Size = short[i].c[:63], 63
		}
	}
	late := append(append([]item(nil), items[:1]...), append(items[3:], items[1:3]...)...)
	// The signed manifest with the rest of another bundle.
	mixed := append(append([]item(nil), items[:3]...),
		unpack(t, must[[]byte](t)(os.ReadFile(saveTo(t, s, entries[:1], SaveOptions{}))))[2:]...)
	for name, c := range map[string]struct {
		b    []byte
		key  ed25519.PublicKey
		says string
	}{
		"not signed":         {unsigned, public, "not signed"},
		"another key":        {signed, other, "another key"},
		"forged":             {makeTar(t, forged...), public, "was changed"},
		"short":              {makeTar(t, short...), public, "63 bytes"},
		"signature too late": {makeTar(t, late...), public, "not signed"},
		"mixed":              {makeTar(t, mixed...), public, manifestFile},
	} {
		to := openStore(t)
		_, err := loadBytes(t, to, c.b, LoadOptions{VerifyKey: c.key})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if blobs, _ := filepath.Glob(filepath.Join(to.Dir(), "blobs/sha256/*")); len(blobs) > 0 {
			t.Errorf("%s: %d blobs were stored", name, len(blobs))
		}
		var se *SignatureError
		if errors.As(err, &se) && usererr.Hint(err) == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

// openssl makes the keys, and can verify a signature without kolla-build.
func TestSignatureOfOpenSSL(t *testing.T) {
	openssl := testenv.Program(t, "openssl", "openssl")
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	run("genpkey", "-algorithm", "ed25519", "-out", "bundle.key")
	run("pkey", "-in", "bundle.key", "-pubout", "-out", "bundle.pub")
	key := must[ed25519.PrivateKey](t)(ReadSignKey(t.Context(), filepath.Join(dir, "bundle.key")))
	public := must[ed25519.PublicKey](t)(ReadVerifyKey(t.Context(), filepath.Join(dir, "bundle.pub")))
	s, entries := fill(t)
	b := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{SignKey: key})))
	must[Summary](t)(loadBytes(t, openStore(t), b, LoadOptions{VerifyKey: public}))
	for _, i := range unpack(t, b) {
		if i.h.Name == manifestFile || i.h.Name == signatureFile {
			if err := os.WriteFile(filepath.Join(dir, i.h.Name), []byte(i.c), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("pkeyutl", "-verify", "-pubin", "-inkey", "bundle.pub", "-rawin", "-in", manifestFile, "-sigfile", signatureFile)
}

func TestWrongKeyFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, private := newKey(t)
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))})
	pkix := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must[[]byte](t)(x509.MarshalPKIXPublicKey(public))})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for name, b := range map[string][]byte{"text": []byte("no key"), "public": pkix, "encrypted": encrypted, "large": make([]byte, maxKey+1)} {
		if _, err := ReadSignKey(t.Context(), write(name, b)); err == nil {
			t.Errorf("%s is a private key", name)
		}
	}
	for name, b := range map[string][]byte{"text": []byte("no key"), "private": pkcs8} {
		if _, err := ReadVerifyKey(t.Context(), write(name, b)); err == nil || strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s is a public key: %v", name, err)
		}
	}
}

// FuzzManifest parses manifests: accepted ones have no two files of the same name.
func FuzzManifest(f *testing.F) {
	s, entries := fillSize(f, 50)
	var b bytes.Buffer
	if _, err := Save(f.Context(), s, entries, "-", SaveOptions{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	for _, i := range unpack(f, b.Bytes()) {
		if i.h.Name == manifestFile {
			f.Add([]byte(i.c))
		}
	}
	f.Add(seal([]byte(`{"kolla-bundle":1,"images":[],"files":[]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if m, err = parseManifest(seal(b)); err != nil {
				return
			}
		}
		seen := map[string]bool{}
		for _, file := range m.Files {
			if seen[file.Name] || file.Size < 0 || file.sum().Validate() != nil {
				t.Errorf("%+v", file)
			}
			seen[file.Name] = true
		}
	})
}
