package tree_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func key(b byte) tree.SecretKey {
	return tree.NewSecretKey([32]byte{b, 1, 2}, tree.KeyID{b, 0xab})
}

func digest(s string) artifact.Digest { return artifact.Sum([]byte(s)) }

func manifest() tree.Manifest {
	return tree.Manifest{
		Site: "linac", Channel: "production", FEC: "kgp2cu02", Host: "kgp2cu02.acc.example.org", Platform: "yocto-ppc",
		Serial: 29_384_756, Expires: 29_514_356, Data: true,
		Persistence: []tree.Persistent{{Name: "offsets", Schema: "v2", Path: "/opt/fesa/data"}},
		Software: []tree.Item{
			{Name: "bpm", Version: "3.1.0", Object: tree.Object{Format: artifact.Gzip, Size: 1585539, Digest: digest("bpm")}, Install: "/opt/fesa/bpm/3.1.0", Start: true},
			{Name: "diag", Version: "dev", Object: tree.Object{Format: artifact.Xz, Size: 7, Digest: digest("diag")}, Install: "/opt/diag"},
		},
		Configuration: []tree.Item{{Name: "timing", Version: "1.0", Object: tree.Object{Format: artifact.Zstd, Size: 145, Digest: digest("t")}, Install: "/opt/conf/timing"}},
		Scripts:       tree.Object{Format: artifact.Gzip, Size: 812, Digest: digest("scripts")},
		Init:          []tree.Script{{Name: "10-env", Digest: digest("env")}, {Name: "50-bpm", Digest: digest("b"), Starts: "bpm"}},
	}
}

func TestManifestSurvivesMarshalAndParse(t *testing.T) {
	m := manifest()
	body := m.Marshal()
	keys := []tree.SecretKey{key(1), key(2)}
	whole := append(tree.Sign(body, keys), body...)
	got, sigs, signed, err := tree.ParseManifest(whole)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, got); d != "" {
		t.Errorf("manifest differs (-want +got):\n%s", d)
	}
	if !bytes.Equal(signed, body) {
		t.Errorf("signed bytes are %q, want the body", signed)
	}
	for _, k := range keys {
		if !tree.Verify(signed, sigs, []tree.PublicKey{k.Public()}) {
			t.Errorf("%v's signature does not verify", k)
		}
	}
	if tree.Verify(signed, sigs, []tree.PublicKey{key(3).Public()}) {
		t.Error("a key that did not sign verifies")
	}
}

func TestManifestRefuses(t *testing.T) {
	good := string(manifest().Marshal())
	for name, change := range map[string][2]string{
		"another version":    {"pomona-boot 1", "pomona-boot 2"},
		"missing line":       {"platform yocto-ppc\n", ""},
		"wrong count":        {"\nend ", "\nend 1"},
		"truncated":          {"\nend 16\n", "\nend 16"},
		"second space":       {"fec kgp2cu02", "fec  kgp2cu02"},
		"unknown line":       {"data yes", "data yes\nextra 1"},
		"shell in a name":    {"fec kgp2cu02", "fec $(reboot)"},
		"large serial":       {"serial 29384756", "serial 2147483648"},
		"leading zero":       {"serial 29384756", "serial 029384756"},
		"negative":           {"expires 29514356", "expires -1"},
		"data elsewhere":     {"/opt/fesa/data", "/opt/../etc"},
		"escaping path":      {"/opt/fesa/bpm/3.1.0", "/opt/../etc"},
		"relative path":      {"/opt/fesa/bpm/3.1.0", "opt/fesa"},
		"root path":          {"/opt/fesa/bpm/3.1.0", "/"},
		"unknown format":     {"3.1.0 gzip", "3.1.0 lzma"},
		"upper-case digest":  {digest("env").String(), strings.ToUpper(digest("env").String())},
		"neither start":      {" start\n", " perhaps\n"},
		"too few words":      {" start\n", "\n"},
		"order of the lines": {"site linac\nchannel production\n", "channel production\nsite linac\n"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, change[0], change[1], 1)
			if bad == good {
				t.Fatalf("the test changes nothing: %q is not there", change[0])
			}
			if name != "wrong count" && name != "truncated" && strings.Count(bad, "\n") != strings.Count(good, "\n") {
				bad = strings.Replace(bad, "end 15", "end "+map[bool]string{true: "16", false: "14"}[len(bad) > len(good)], 1)
			}
			if _, _, _, err := tree.ParseManifest([]byte(bad)); err == nil {
				t.Errorf("accepted:\n%s", bad)
			}
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	body := manifest().Marshal()
	f.Add(body)
	f.Add(append(tree.Sign(body, []tree.SecretKey{key(1)}), body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, sigs, signed, err := tree.ParseManifest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Marshal(), signed) {
			t.Errorf("%q prints as %q", signed, m.Marshal())
		}
		if len(sigs) == 0 && !bytes.Equal(b, signed) {
			t.Errorf("bytes before the body of %q are nobody's", b)
		}
	})
}

func index() tree.Index {
	return tree.Index{
		Site: "linac", Channel: "production", Generation: 42, Commit: strings.Repeat("3f", 20), Tree: digest("tree"),
		FECs:    []tree.IndexedFEC{{Name: "kgp2cu02", Content: digest("c"), Folder: digest("f"), Serial: 7, Expires: 8}},
		Folders: []tree.IndexedFolder{{Path: "fecs/global", Folder: digest("g")}, {Path: "software/bpm", Folder: digest("s")}, {Path: "repo/keys", Content: digest("k"), Folder: digest("K")}},
		Links:   []tree.Link{{Path: "fecs/scuxl0815", Target: "kgp2cu02"}},
	}
}

func TestIndexSurvivesMarshalAndParse(t *testing.T) {
	got, err := tree.ParseIndex(index().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(index(), got); d != "" {
		t.Errorf("index differs (-want +got):\n%s", d)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(index().Marshal())
	f.Add(tree.Index{Site: "s", Channel: "c", Commit: strings.Repeat("0", 40), Tree: digest("")}.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := tree.ParseIndex(b); err == nil && !bytes.Equal(x.Marshal(), b) {
			t.Errorf("%q prints as %q", b, x.Marshal())
		}
	})
}

func FuzzParseSignatures(f *testing.F) {
	f.Add(key(1).Sign([]byte("x")).Marshal())
	f.Add(append(tree.Sign([]byte("x"), []tree.SecretKey{key(1), key(2)}), "rest"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		sigs, rest, err := tree.ParseSignatures(b)
		if err == nil && (len(sigs) == 0 || !bytes.HasSuffix(b, rest)) {
			t.Errorf("%q gives %d signatures and rest %q", b, len(sigs), rest)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(key(1).Marshal())
	f.Add(key(1).Public().Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := tree.ParseSecretKey(b); err == nil && !tree.Verify([]byte("m"), []tree.Signature{k.Sign([]byte("m"))}, []tree.PublicKey{k.Public()}) {
			t.Error("a parsed secret key does not sign")
		}
		if k, err := tree.ParsePublicKey(b); err == nil && len(k.Key) != 32 {
			t.Errorf("public key of %d bytes", len(k.Key))
		}
	})
}

func TestOneChangedByteNeverVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "message")
		k := key(rapid.Byte().Draw(t, "key"))
		sig := k.Sign(message)
		i := rapid.IntRange(0, len(message)-1).Draw(t, "at")
		message[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if k.Public().Verify(message, sig) {
			t.Fatal("verifies")
		}
	})
}

func TestSecretKeyStaysOutOfText(t *testing.T) {
	k := key(1)
	seed := string(k.Marshal())[40:]
	for _, s := range []string{k.String(), k.GoString()} {
		if strings.Contains(seed, s) || len(s) > 40 {
			t.Errorf("%q gives the key away", s)
		}
	}
}

// TestSignifyReadsWhatPomonaWrites holds keys and signatures to OpenBSD's own program, in both directions.
func TestSignifyReadsWhatPomonaWrites(t *testing.T) {
	signify := debian(t, "signify-openbsd", "signify-openbsd")
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	k := key(9)
	message := manifest().Marshal()
	pub, sec, m, sig := write("k.pub", k.Public().Marshal()), write("k.sec", k.Marshal()), write("m", message), write("m.sig", k.Sign(message).Marshal())
	if out, err := exec.Command(signify, "-V", "-p", pub, "-m", m, "-x", sig).CombinedOutput(); err != nil {
		t.Errorf("signify refuses our signature: %v: %s", err, out)
	}
	theirs := filepath.Join(dir, "theirs.sig")
	if out, err := exec.Command(signify, "-S", "-s", sec, "-m", m, "-x", theirs).CombinedOutput(); err != nil {
		t.Fatalf("signify refuses our secret key: %v: %s", err, out)
	}
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	sigs, _, err := tree.ParseSignatures(b)
	if err != nil || !tree.Verify(message, sigs, []tree.PublicKey{k.Public()}) {
		t.Errorf("we refuse signify's signature: %v", err)
	}
}

// debian finds a program of a Debian package. In CI it must be there.
func debian(t *testing.T, program, pkg string) string {
	t.Helper()
	found, err := exec.LookPath(program)
	if err == nil {
		return found
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: .ci/run must install Debian's package %s", program, pkg)
	}
	t.Skipf("SKIPPED: %s is missing; install Debian's package %s", program, pkg)
	return ""
}

func FuzzLinkNode(f *testing.F) {
	for _, n := range []tree.Node{
		{Path: "init/10-env", Object: artifact.Sum([]byte("a"))}, {Path: "bpm-1.0.tar.gz", Object: artifact.Sum([]byte("b"))},
		{Path: "data", Target: "data/kgp2cu01"}, {Path: "a/b/c", Target: "data/x"},
	} {
		got, err := tree.LinkNode(n.Path, n.LinkTarget())
		if d := cmp.Diff(n, got); d != "" || err != nil {
			f.Fatalf("%v (-want +got):\n%s", err, d)
		}
		f.Add(n.Path, n.LinkTarget())
	}
	f.Add("a", "/etc/passwd")
	f.Add("a", "../../../../")
	f.Fuzz(func(t *testing.T, path, target string) {
		if n, err := tree.LinkNode(path, target); err == nil && n.LinkTarget() != target {
			t.Errorf("%q -> %q is read as %+v", path, target, n)
		}
	})
}

func TestDataManifestSurvivesMarshalAndParse(t *testing.T) {
	m := tree.DataManifest{Site: "linac", FEC: "kgp2cu02", Data: []tree.DataItem{
		{Name: "offsets", Schema: "v2", Object: tree.Object{Format: artifact.Gzip, Size: 812, Digest: digest("offsets")}, Path: "/opt/fesa/data"},
		{Name: "offsets", Schema: "v1", Object: tree.Object{Format: artifact.Gzip, Size: 7, Digest: digest("old")}, Path: "/opt/fesa/data"},
	}}
	body := m.Marshal()
	got, sigs, signed, err := tree.ParseDataManifest(append(tree.Sign(body, []tree.SecretKey{key(1)}), body...))
	if d := cmp.Diff(m, got); d != "" || err != nil {
		t.Errorf("%v, manifest differs (-want +got):\n%s", err, d)
	}
	if !bytes.Equal(signed, body) || !tree.Verify(signed, sigs, []tree.PublicKey{key(1).Public()}) {
		t.Error("its signature does not verify")
	}
	for _, change := range [][2]string{{"pomona-data 1", "pomona-boot 1"}, {"fec kgp2cu02\n", ""}, {"/opt/fesa/data", "/"}, {"end 5", "end 6"}, {"v2 gzip", "v2"}} {
		if _, _, _, err := tree.ParseDataManifest([]byte(strings.Replace(string(body), change[0], change[1], 1))); err == nil {
			t.Errorf("takes %q for %q", change[1], change[0])
		}
	}
}
