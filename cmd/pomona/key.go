package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func keygenCommand() *cobra.Command {
	var token, pilot bool
	cmd := &cobra.Command{
		Use:   "keygen FILE | --token",
		Short: "Make a key that signs what FECs boot or sites install, or the token of a FEC",
		Long: `Make an Ed25519 key in signify format: FILE.sec signs and stays outside every served directory, FILE.pub goes into
/etc/pomona/keys of every FEC. To replace a key, give both to --key until every FEC has the new FILE.pub, then only the new one.
With --openpgp, make one that signs RPM repositories of pilots: FILE.sec goes to --pilot-key or pilotKey, FILE.asc is its public part,
which is served as repo/keys/pomona.asc. With --token, print a token by which one FEC proves its reports: /etc/pomona/token of that FEC holds it, and the service's file of
tokens in a line after the FEC's name.`,
		Args: func(_ *cobra.Command, args []string) error {
			if token == (len(args) > 0) || len(args) > 1 {
				return errors.New("give either a FILE to write a key to, or --token\nsee pomona keygen --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if token {
				var random [64]byte
				rand.Read(random[:]) // never fails (crypto/rand)
				_, err := fmt.Fprintln(cmd.OutOrStdout(), tree.NewToken(random))
				return err
			}
			if pilot {
				return pilotKeygen(cmd.OutOrStdout(), args[0])
			}
			k, err := keygen(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key %s: %s.sec signs, %s.pub verifies\n", k.ID, args[0], args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&pilot, "openpgp", false, "make an OpenPGP key for repositories of pilots")
	cmd.Flags().BoolVar(&token, "token", false, "print a token")
	cmd.MarkFlagsMutuallyExclusive("openpgp", "token")
	return cmd
}

func keygen(file string) (tree.SecretKey, error) {
	var seed [32]byte
	var id tree.KeyID
	rand.Read(seed[:]) // never fails (crypto/rand)
	rand.Read(id[:])
	k := tree.NewSecretKey(seed, id)
	if err := writeNew(file+".sec", k.Marshal(), 0o600); err != nil {
		return k, fmt.Errorf("write secret key: %w", err)
	}
	if err := writeNew(file+".pub", k.Public().Marshal(), 0o644); err != nil {
		return k, errors.Join(fmt.Errorf("write public key: %w", err), os.Remove(file+".sec"))
	}
	return k, nil
}

// pilotKeygen writes FILE.sec and FILE.asc.
func pilotKeygen(out io.Writer, file string) error {
	k, err := rpm.GenerateKey("Pomona pilot repositories")
	if err != nil {
		return err
	}
	secret, err1 := k.SecretArmored()
	public, err2 := k.PublicArmored()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := writeNew(file+".sec", secret, 0o600); err != nil {
		return fmt.Errorf("write secret key: %w", err)
	}
	if err := writeNew(file+".asc", public, 0o644); err != nil {
		return errors.Join(fmt.Errorf("write public key: %w", err), os.Remove(file+".sec"))
	}
	_, err = fmt.Fprintf(out, "key %s: %s.sec signs, %s.asc verifies\n", k.Fingerprint(), file, file)
	return err
}

// writeNew writes a file that must not exist.
func writeNew(file string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// outside refuses a secret that would be served.
func outside(root, file string) error {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	base, err := filepath.EvalSymlinks(root)
	if errors.Is(err, os.ErrNotExist) {
		base, err = root, nil // nothing is served from there yet
	}
	if err != nil {
		return fmt.Errorf("read root: %w", err)
	}
	absReal, err1 := filepath.Abs(real)
	absBase, err2 := filepath.Abs(base)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if strings.HasPrefix(absReal, strings.TrimSuffix(absBase, "/")+"/") {
		return fmt.Errorf("secret %q lies in the served directory %q: move it out", file, root)
	}
	return nil
}
