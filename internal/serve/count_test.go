package serve

import (
	"net/netip"
	"testing"

	"aerys/internal/http1"
)

func TestClientNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32",
		"2001:db8:0:12ff::1": "2001:db8:0:1200::/56", "fe80::1%eth0": "fe80::/56",
	} {
		if got := clientNetwork(netip.MustParseAddr(ip)).String(); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

func TestDefaultMaxConnectionsLeavesReserve(t *testing.T) {
	if n := limited(0, 0, nil).limit; n < 1 || n > 1<<31 {
		t.Errorf("%d connections", n)
	}
}

// However a connection is counted, nothing of it is left when it is over.
func TestCountedConnectionsLeaveNothing(t *testing.T) {
	for _, perIP := range []int{0, 1} {
		for _, upgrades := range []bool{false, true} {
			c := limited(0, perIP, nil)
			c.room(c.each)
			c.Open.Add(1)
			var counted http1.Counted = &c.whole
			if perIP > 0 {
				network := clientNetwork(netip.MustParseAddr("192.0.2.1"))
				c.enterNetwork(network)
				counted = &neighbour{counted, c, network}
			}
			if upgrades {
				if counted = counted.Upgraded(); c.weight.Load() != 1 {
					t.Errorf("%d an address: an upgraded connection weighs %d", perIP, c.weight.Load())
				}
			}
			counted.Over()
			if c.weight.Load() != 0 || c.Open.Load() != 0 || len(c.perIP) != 0 {
				t.Errorf("%d an address, upgraded %v: weight %d, %d open, %d networks", perIP, upgrades, c.weight.Load(), c.Open.Load(), len(c.perIP))
			}
		}
	}
}

// TestConnectionFiles has in each row a limit of open files, and how many
// connections there can be by default, before and after they are upgraded.
func TestConnectionFiles(t *testing.T) {
	for _, test := range []struct{ files, plain, upgraded int }{
		{0, 10000, 20000},
		{64, 1, 2},
		{256, 96, 192},
		{1024, 429, 858},
		{20_000, 9712, 19_424},
		{1 << 20, 524_000, 1_048_000},
	} {
		c := &Connections{each: filesEach, limit: connectionFiles(test.files)}
		plain, upgraded := 0, 0
		for c.room(c.each) {
			plain++
		}
		for c.weight.Store(0); c.room(c.each); upgraded++ {
			c.weight.Add(1 - c.each)
		}
		if plain != test.plain || upgraded < test.upgraded-1 || upgraded > test.upgraded {
			t.Errorf("%d files: %d connections, %d upgraded", test.files, plain, upgraded)
		}
	}
}
