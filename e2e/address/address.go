// Package address gives the servers that tests start something to listen on.
package address

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports below those that the kernel gives to whoever asks for any, which on Linux begin at 32768 (ip(7), ip_local_port_range), and those
// of slurmtest's clusters. A process takes them by the block: those of a block are nobody else's as long as it lives.
const first, end, block = 12000, 21000, 100

// taken are the ports that this process has. A block is marked by a socket without a file, which goes with the process whatever it dies of.
var taken struct {
	sync.Mutex
	marks []net.Listener
	ports []int // that were not given yet
	given []int
}

// Free is an address of this machine, 127.0.0.1:PORT, that nobody listens on, and that no test gets but who asked: neither before its
// server starts nor while that is down.
func Free() (string, error) {
	taken.Lock()
	defer taken.Unlock()
	for range end - first {
		if len(taken.ports) == 0 && !more() {
			break
		}
		port := taken.ports[0]
		taken.ports, taken.given = taken.ports[1:], append(taken.given, port)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("every port has somebody who listens on it")
}

// more takes another block. If other processes have all of them, the ports that were given longest ago are given again.
func more() bool {
	for _, n := range rand.Perm((end - first) / block) {
		at := first + n*block
		mark, err := net.Listen("unix", fmt.Sprintf("@pomona-test-ports-%d", at))
		if err != nil {
			continue // it is somebody's, maybe this process's
		}
		taken.marks = append(taken.marks, mark)
		for port := at; port < at+block; port++ {
			taken.ports = append(taken.ports, port)
		}
		return true
	}
	taken.ports, taken.given = taken.given, nil
	return len(taken.ports) > 0
}
