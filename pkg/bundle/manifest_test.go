package bundle_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func loadFrom(t testing.TB, s *store.Store, b []byte, opts load.Options) (load.Summary, error) {
	t.Helper()
	opts.Stdin = bytes.NewReader(b)
	return load.Bundle(t.Context(), "-", s, opts)
}

// The manifest lists every other file with its size and digest.
func TestManifestListsEverything(t *testing.T) {
	s, entries := storetest.Fill(t)
	_, key := bundletest.NewKey(t)
	b := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries,
		save.Options{Tool: "kolla-build 1", Configuration: map[string]string{"base": "debian"}, SignKey: key})))
	m := bundletest.ManifestOf(t, b)
	if m.Tool != "kolla-build 1" || m.Configuration["base"] != "debian" || len(m.Images) != 2 {
		t.Errorf("%+v", m)
	}
	if i := m.Images[0]; i.Name != storetest.RefA || i.Digest != entries[0].Digest || i.Key != entries[0].Key ||
		i.Size != entries[0].Size || len(i.Platforms) != 1 || i.Platforms[0] != "linux/amd64" {
		t.Errorf("%+v", i)
	}
	listed := map[string]bundle.ManifestFile{}
	for _, f := range m.Files {
		listed[f.Name] = f
	}
	for _, i := range bundletest.Unpack(t, b) {
		if i.H.Typeflag == tar.TypeDir || i.H.Name == bundle.ManifestName || i.H.Name == bundle.SignatureName {
			continue
		}
		if f := listed[i.H.Name]; f.Size != i.H.Size || f.Sum() != digest.FromString(i.C) {
			t.Errorf("%s: %+v", i.H.Name, f)
		}
		delete(listed, i.H.Name)
	}
	if len(listed) > 0 {
		t.Errorf("listed, but not there: %v", listed)
	}
}

// A bit that changes a name in index.json, or anything else that is not a blob, is
// noticed before a name is stored.
func TestDamageOutsideBlobs(t *testing.T) {
	s, entries := storetest.Fill(t)
	intact := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{})))
	for _, text := range []string{"nova-api:2026.1", `"imageLayoutVersion"`, `"RepoTags"`, "io.kolla-build.key"} {
		for at := 0; ; at++ {
			n := bytes.Index(intact[at:], []byte(text))
			if n < 0 {
				break
			}
			at += n
			b := bytes.Clone(intact)
			b[at+2] ^= 1
			to := storetest.Open(t)
			_, err := loadFrom(t, to, b, load.Options{})
			if entries, _ := to.Entries(); err == nil || len(entries) > 0 {
				t.Errorf("%q at %d: %v, %d names", text, at, err, len(entries))
			}
		}
	}
}

// Added, removed, doubled and exchanged files are noticed, in any order.
func TestHostileManifest(t *testing.T) {
	s, entries := storetest.Fill(t)
	items := bundletest.Unpack(t, testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{}))))
	find := func(name string) int {
		for i := range items {
			if strings.HasPrefix(items[i].H.Name, name) && items[i].H.Typeflag == tar.TypeReg {
				return i
			}
		}
		t.Fatal(name)
		return 0
	}
	manifest, blob := find(bundle.ManifestName), find("blobs/sha256/")
	extra := digest.FromString("extra")
	with := func(change func(m string) string) []bundletest.Item {
		changed := append([]bundletest.Item(nil), items...)
		body, _, _ := strings.Cut(changed[manifest].C, bundle.CheckField)
		changed[manifest].C = string(bundle.Seal([]byte(change(body + "}"))))
		changed[manifest].H.Size = 0
		return changed
	}
	last := append(append([]bundletest.Item(nil), items[:manifest]...), append(items[manifest+1:], items[manifest])...)
	for _, c := range []struct {
		name  string
		items []bundletest.Item
		says  string
	}{
		{"manifest last", last, ""},
		{"blob missing", append(append([]bundletest.Item(nil), items[:blob]...), items[blob+1:]...), "it is missing"},
		{"blob added", append(append([]bundletest.Item(nil), items...), bundletest.File(bundle.BlobPath(extra), "extra")),
			"does not list it"},
		{"file added", append(append([]bundletest.Item(nil), items...), bundletest.File("repositories", "{}")),
			"does not list it"},
		{"listed twice", with(func(m string) string {
			return strings.Replace(m, `"files":[`, `"files":[{"name":"oci-layout","size":30,"digest":"`+extra.String()+`"},`, 1)
		}), "occurs twice"},
		{"listed and not there", with(func(m string) string {
			return strings.Replace(m, `"files":[`, `"files":[{"name":"`+bundle.BlobPath(extra)+`","size":5},`, 1)
		}), "it is missing"},
		{"leads out", with(func(m string) string {
			return strings.Replace(m, `"name":"oci-layout"`,
				`"name":"../oci-layout"`, 1)
		}), "not a path within the bundle"},
		{"lists itself", with(func(m string) string {
			return strings.Replace(m, `"name":"oci-layout"`, `"name":"`+bundle.ManifestName+`"`, 1)
		}), "may not be listed"},
		{"no digest", with(func(m string) string { return strings.Replace(m, `"digest":"sha256:`, `"digest":"md5:`, 3) }),
			"no digest"},
		{"negative size", with(func(m string) string { return strings.Replace(m, `"size":30`, `"size":-30`, 1) }),
			"negative"},
		{"other image", with(func(m string) string { return strings.Replace(m, "nova-api:2026.1", "nova-api:2026.2", 1) }),
			"not those of"},
		{"later version", with(func(m string) string {
			return strings.Replace(m, `"kolla-bundle":1`, `"kolla-bundle":2`,
				1)
		}), "this program knows 1"},
		{"later field", with(func(m string) string {
			return strings.Replace(m, `{"kolla-bundle":1`, `{"more":[{"a":[1]}],"kolla-bundle":1`, 1)
		}), ""},
		{"no end", with(func(m string) string { return `{"kolla-bundle":1,"files":[` + strings.Repeat("[", 1000) }),
			"not the manifest"},
		{"changed", append(append([]bundletest.Item(nil), items[:manifest]...),
			append([]bundletest.Item{bundletest.File(bundle.ManifestName,
				strings.Replace(items[manifest].C, "key of", "key to",
					1))}, items[manifest+1:]...)...), "digest that it ends with"},
		{"too many images", with(func(m string) string {
			return `{"kolla-bundle":1,"images":[` + strings.Repeat("{},", bundle.MaxImages) + "{}]}"
		}), "more than 50000 entries"},
		{"too many files", with(func(m string) string {
			return `{"kolla-bundle":1,"files":[` + strings.Repeat(`{"name":"x"},`, 2) + "{}]}"
		}), "no digest"},
		{"large entry", with(func(m string) string {
			return `{"kolla-bundle":1,"images":[{"name":"` + strings.Repeat("x", bundle.MaxManifestEntry) + `"}]}`
		}), "more than 65536"},
		{"two documents", with(func(m string) string { return m + m }), "not the manifest"},
	} {
		to := storetest.Open(t)
		_, err := loadFrom(t, to, bundletest.Tar(t, c.items...), load.Options{})
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
	s, entries := storetest.Fill(t)
	public, private := bundletest.NewKey(t)
	other, _ := bundletest.NewKey(t)
	signed := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{SignKey: private})))
	unsigned := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{})))

	to := storetest.Open(t)
	sum := testenv.Must[load.Summary](t)(loadFrom(t, to, signed, load.Options{VerifyKey: public}))
	if e, ok, _ := to.ByKey(entries[0].Key); !sum.Signed || !ok || e.Kind != store.KindBuilt {
		t.Errorf("signed: %+v, %+v", sum, e)
	}
	to = storetest.Open(t)
	sum = testenv.Must[load.Summary](t)(loadFrom(t, to, signed, load.Options{}))
	if _, ok, _ := to.ByKey(entries[0].Key); ok || sum.Signed {
		t.Error("without a key, a signature counts")
	}

	items := bundletest.Unpack(t, signed)
	forged := bundletest.Unpack(t, signed)
	for i := range forged {
		if forged[i].H.Name == bundle.ManifestName {
			body, _, _ := strings.Cut(strings.Replace(forged[i].C, "key of", "key to", 1), bundle.CheckField)
			forged[i].C = string(bundle.Seal([]byte(body + "}")))
		}
	}
	short := bundletest.Unpack(t, signed)
	for i := range short {
		if short[i].H.Name == bundle.SignatureName {
			short[i].C, short[i].H.Size = short[i].C[:63], 63
		}
	}
	late := append(append([]bundletest.Item(nil), items[:1]...), append(items[3:], items[1:3]...)...)
	// The signed manifest with the rest of another bundle.
	mixed := append(append([]bundletest.Item(nil), items[:3]...),
		bundletest.Unpack(t, testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries[:1], save.Options{}))))[2:]...)
	for name, c := range map[string]struct {
		b    []byte
		key  ed25519.PublicKey
		says string
	}{
		"not signed":         {unsigned, public, "not signed"},
		"another key":        {signed, other, "another key"},
		"forged":             {bundletest.Tar(t, forged...), public, "was changed"},
		"short":              {bundletest.Tar(t, short...), public, "63 bytes"},
		"signature too late": {bundletest.Tar(t, late...), public, "not signed"},
		"mixed":              {bundletest.Tar(t, mixed...), public, bundle.ManifestName},
	} {
		to := storetest.Open(t)
		_, err := loadFrom(t, to, c.b, load.Options{VerifyKey: c.key})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if blobs, _ := filepath.Glob(filepath.Join(to.Dir(), "blobs/sha256/*")); len(blobs) > 0 {
			t.Errorf("%s: %d blobs were stored", name, len(blobs))
		}
		var se *bundle.SignatureError
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
	key := testenv.Must[ed25519.PrivateKey](t)(bundle.ReadSignKey(t.Context(), filepath.Join(dir, "bundle.key")))
	public := testenv.Must[ed25519.PublicKey](t)(bundle.ReadVerifyKey(t.Context(), filepath.Join(dir, "bundle.pub")))
	s, entries := storetest.Fill(t)
	b := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{SignKey: key})))
	testenv.Must[load.Summary](t)(loadFrom(t, storetest.Open(t), b, load.Options{VerifyKey: public}))
	for _, i := range bundletest.Unpack(t, b) {
		if i.H.Name == bundle.ManifestName || i.H.Name == bundle.SignatureName {
			if err := os.WriteFile(filepath.Join(dir, i.H.Name), []byte(i.C), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("pkeyutl", "-verify", "-pubin", "-inkey", "bundle.pub", "-rawin", "-in", bundle.ManifestName, "-sigfile",
		bundle.SignatureName)
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
	public, private := bundletest.NewKey(t)
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY",
		Bytes: testenv.Must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))})
	pkix := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY",
		Bytes: testenv.Must[[]byte](t)(x509.MarshalPKIXPublicKey(public))})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for name, b := range map[string][]byte{"text": []byte("no key"), "public": pkix, "encrypted": encrypted,
		"large": make([]byte, bundle.MaxKey+1)} {
		if _, err := bundle.ReadSignKey(t.Context(), write(name, b)); err == nil {
			t.Errorf("%s is a private key", name)
		}
	}
	for name, b := range map[string][]byte{"text": []byte("no key"), "private": pkcs8} {
		if _, err := bundle.ReadVerifyKey(t.Context(), write(name, b)); err == nil ||
			strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("%s is a public key: %v", name, err)
		}
	}
}

// FuzzManifest parses manifests: accepted ones have no two files of the same name.
func FuzzManifest(f *testing.F) {
	s, entries := storetest.FillSize(f, 50)
	var b bytes.Buffer
	if _, err := save.Bundle(f.Context(), s, entries, "-", save.Options{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	for _, i := range bundletest.Unpack(f, b.Bytes()) {
		if i.H.Name == bundle.ManifestName {
			f.Add([]byte(i.C))
		}
	}
	f.Add(bundle.Seal([]byte(`{"kolla-bundle":1,"images":[],"files":[]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := bundle.ParseManifest(b)
		if err != nil {
			if m, err = bundle.ParseManifest(bundle.Seal(b)); err != nil {
				return
			}
		}
		seen := map[string]bool{}
		for _, file := range m.Files {
			if seen[file.Name] || file.Size < 0 || file.Sum().Validate() != nil {
				t.Errorf("%+v", file)
			}
			seen[file.Name] = true
		}
	})
}
