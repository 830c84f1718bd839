// Package address gives the servers that tests start something to listen on.
package address

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that the kernel gives to whoever asks for any, which on Linux begin at 32768 (ip(7), ip_local_port_range), and those
// of slurmtest's clusters: between Free's look and the server's start nobody else gets one.
const first, end = 12000, 21000

// Free is an address of this machine, 127.0.0.1:PORT, that nobody listens on.
func Free() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(end-first))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}
