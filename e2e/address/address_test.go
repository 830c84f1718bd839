package address

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNobodyElseGetsAnAddress has several processes ask for more of them than a block has, none of which listens.
func TestNobodyElseGetsAnAddress(t *testing.T) {
	const many = 3 * block / 2
	if os.Getenv("POMONA_TEST_ADDRESSES") != "" {
		for range many {
			address, err := Free()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("address", address)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the others have asked
		return
	}
	given := map[string]bool{}
	get := func(address string) {
		if given[address] {
			t.Errorf("%s is given twice", address)
		}
		given[address] = true
	}
	for range 2 {
		other := exec.Command(os.Args[0], "-test.run", t.Name())
		other.Env = append(os.Environ(), "POMONA_TEST_ADDRESSES=1")
		in, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := other.StdoutPipe()
		if err == nil {
			err = other.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			if err := other.Wait(); err != nil {
				t.Error(err)
			}
		})
		for range many {
			var address string
			if _, err := fmt.Fscanf(out, "address %s\n", &address); err != nil {
				t.Fatal(err)
			}
			get(address)
		}
	}
	for range many {
		address, err := Free()
		if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
			t.Fatalf("%q, %v", address, err)
		}
		get(address)
	}
}
