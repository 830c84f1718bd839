package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/crypto/ssh"
)

// Sign makes an armored signature of a commit's bytes.
type Sign func(commit []byte) (string, error)

// signCommit signs a commit as it will be written.
func signCommit(c *object.Commit, sign Sign) error {
	o := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(o); err != nil {
		return err
	}
	r, err := o.Reader()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err == nil {
		c.PGPSignature, err = sign(b)
	}
	return err
}

// SignSSH signs with the private key in a file. One that a passphrase locks, that an agent or a token holds, or that is named by its public
// half, is left to ssh-keygen, as git does: it asks whom it must.
func SignSSH(ctx context.Context, file, program string) (Sign, error) {
	if key, literal := strings.CutPrefix(file, "key::"); literal || strings.HasPrefix(file, "ssh-") {
		return agentSigner(ctx, key, program), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return keygenSigner(ctx, file, program, false), nil
	}
	return func(commit []byte) (string, error) { return signSSH(signer, commit) }, nil
}

// signSSH makes a signature as PROTOCOL.sshsig in OpenSSH has it.
func signSSH(signer ssh.Signer, message []byte) (string, error) {
	sum := sha512.Sum512(message)
	over := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{sshNamespace, "", "sha512", sum[:]})...)
	algorithm := ""
	if signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512 // SHA-1 is the default
	}
	inner, err := signWith(signer, over, algorithm)
	if err != nil {
		return "", err
	}
	blob := append([]byte(sshMagic), ssh.Marshal(sshSignature{
		Version: 1, PublicKey: signer.PublicKey().Marshal(), Namespace: sshNamespace, Hash: "sha512", Signature: ssh.Marshal(inner),
	})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob})), nil
}

func signWith(signer ssh.Signer, data []byte, algorithm string) (*ssh.Signature, error) {
	if s, ok := signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return s.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return signer.Sign(rand.Reader, data)
}

// agentSigner signs with a key that is given by its public half, and that an agent holds.
func agentSigner(ctx context.Context, key, program string) Sign {
	return func(commit []byte) (string, error) {
		dir, err := os.MkdirTemp("", "pomona-sign-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir) // what is left is in the folder for temporary files
		file := filepath.Join(dir, "key.pub")
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			return "", err
		}
		return keygenSigner(ctx, file, program, true)(commit)
	}
}

// keygenSigner has ssh-keygen sign; agent says that the file has a public key.
func keygenSigner(ctx context.Context, file, program string, agent bool) Sign {
	args := []string{"-Y", "sign", "-n", sshNamespace, "-f", file}
	if agent {
		args = append(args, "-U")
	}
	return func(commit []byte) (string, error) {
		return signBy(ctx, commit, cmp.Or(program, "ssh-keygen"), args...)
	}
}

// SignGPG has gpg sign with a key, as git does; an empty key is the one that gpg takes by itself.
func SignGPG(ctx context.Context, key, program string) Sign {
	args := []string{"-bsa"}
	if key != "" {
		args = append(args, "-u", key)
	}
	return func(commit []byte) (string, error) { return signBy(ctx, commit, cmp.Or(program, "gpg"), args...) }
}

// signBy has a program sign what it reads. It may ask for a passphrase at the terminal.
func signBy(ctx context.Context, commit []byte, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(commit), &out, &errs
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(errs.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return "", fmt.Errorf("run %s: %w", program, err)
	}
	if !strings.HasPrefix(out.String(), "-----BEGIN ") {
		return "", fmt.Errorf("run %s: it made no signature", program)
	}
	return out.String(), nil
}

// Person is what git's configuration says of whoever works in a repository.
type Person struct {
	Email      string // user.email
	Sign       bool   // commit.gpgsign
	Format     string // gpg.format: openpgp, ssh or x509
	Key        string // user.signingkey
	SSHProgram string // gpg.ssh.program
	GPGProgram string // gpg.program
}

// Configured asks git what it is configured to: it follows includes and the environment. Dir may be empty: then what holds for all of a
// person's repositories. Without git, nothing is known.
func Configured(ctx context.Context, dir string) (p Person) {
	ask := func(key string, more ...string) string {
		cmd := exec.CommandContext(ctx, "git", append(append([]string{"config"}, more...), "--get", key)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return "" // it is not set, or there is no git
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	p.Email, p.Format, p.Key = ask("user.email"), ask("gpg.format"), ask("user.signingkey", "--type=path")
	p.SSHProgram, p.GPGProgram = ask("gpg.ssh.program"), ask("gpg.program")
	p.Sign = ask("commit.gpgsign", "--type=bool") == "true"
	return p
}

// Signer is how a person signs who is configured to.
func (p Person) Signer(ctx context.Context) (Sign, error) {
	switch p.Format {
	case "ssh":
		if p.Key == "" {
			return nil, errors.New("git is configured to sign with ssh, but user.signingkey names no key")
		}
		return SignSSH(ctx, p.Key, p.SSHProgram)
	case "", "openpgp":
		return SignGPG(ctx, p.Key, p.GPGProgram), nil
	}
	return nil, fmt.Errorf("git is configured to sign with %s, which counts for nothing here: want ssh or openpgp", p.Format)
}

// AllowedSigners is the file that git is configured to have the keys of signers in; empty: none.
func AllowedSigners(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "config", "--type=path", "--get", "gpg.ssh.allowedSignersFile")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "" // it is not set, or there is no git
	}
	return strings.TrimSuffix(string(out), "\n")
}
