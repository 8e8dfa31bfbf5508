package http1

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The loop is deterministic: execution i of a seed is always the same, so it
// can be stopped, resumed and repeated.
//
//	go test ./internal/http1 -run TestOracleFuzz -oracle.n 1000000 -oracle.from 0
var (
	oracleSeed = flag.Uint64("oracle.seed", 1, "seed of the differential test")
	oracleFrom = flag.Int("oracle.from", 0, "its first execution")
	oracleN    = flag.Int("oracle.n", 2000, "how many executions")
)

func TestOracleFuzz(t *testing.T) {
	o := newOracle()
	defer o.close()
	excused := map[string]int{}
	for i := *oracleFrom; i < *oracleFrom+*oracleN; i++ {
		random := rand.New(rand.NewPCG(*oracleSeed, uint64(i)))
		input := mutate(random)
		pieces := split(random, input)
		theirs, ours := o.both(pieces)
		if !o.sameInSteps(t, pieces, ours) {
			break
		}
		d := difference(theirs, ours)
		if d == "" {
			continue
		}
		if why := excuse(input, theirs, ours); why != "" {
			excused[why]++
			continue
		}
		t.Errorf("-oracle.seed %d -oracle.from %d -oracle.n 1\n%q\n%s", *oracleSeed, i, pieces, d)
		if *oracleN > 1 && t.Failed() {
			break
		}
	}
	t.Logf("%d executions, excused: %v", *oracleN, excused)
}

// mutate makes a few requests of the seeds, changes something, and adds the
// probe.
func mutate(r *rand.Rand) []byte {
	var input []byte
	for range 1 + r.IntN(3) {
		seed := []byte(seeds[r.IntN(len(seeds))])
		for range r.IntN(4) {
			seed = change(r, seed)
		}
		input = append(input, seed...)
	}
	return append(input, probe...)
}

// words are put anywhere.
var words = []string{
	"\r\n", "\n", "\r", " ", "\t", ":", ";", ",", "0", "4", "f", "\x00", "\x7f", "\x80", "\r\n\r\n", "0\r\n\r\n", "\r\n ", " HTTP/1.1", " HTTP/1.0",
	"GET / HTTP/1.1\r\n", "HEAD ", "POST ", "\r\nHost: h", "\r\nConnection: close", "\r\nConnection: keep-alive",
	"\r\nConnection: keep-alive, close", "\r\nContent-Length: 4", "\r\nContent-Length: 0", "\r\nContent-Length: 7",
	"\r\nTransfer-Encoding: chunked", "\r\nExpect: 100-continue", "\r\nTrailer: X", "\r\nUpgrade: h2c", "\r\nX-Long: " + strings.Repeat("l", 5000),
	";ext=\"a\"", ";" + strings.Repeat("e", 4090), ";" + strings.Repeat("e", 3000), "1\r\na\r\n", "5\r\nhello\r\n", "00000000000000005\r\nhello\r\n",
	"X: y\r\n", "X : y\r\n", "http://", "//", "%", "%zz", "?", "#", "*", strings.Repeat("1;"+strings.Repeat("e", 2000)+"\r\na\r\n", 10),
}

// operations are what obey knows.
const operations = "lLxkKutTpiIgCeDyrhcndFSwmWboqf10234578zj"

func change(r *rand.Rand, p []byte) []byte {
	at := r.IntN(len(p) + 1)
	switch r.IntN(7) {
	case 0: // a word more
		return slices.Insert(p, at, []byte(words[r.IntN(len(words))])...)
	case 1: // some bytes less
		return slices.Delete(p, at, min(len(p), at+1+r.IntN(4)))
	case 2: // another byte
		if at < len(p) {
			p[at] = byte(r.IntN(256))
		}
		return p
	case 3: // a line twice
		lines := bytes.SplitAfter(p, []byte("\n"))
		i := r.IntN(len(lines))
		return bytes.Join(slices.Insert(lines, r.IntN(len(lines)+1), lines[i]), nil)
	case 4: // a line less
		lines := bytes.SplitAfter(p, []byte("\n"))
		i := r.IntN(len(lines))
		return bytes.Join(slices.Delete(lines, i, i+1), nil)
	}
	// Other things to do.
	i := bytes.Index(p, []byte("o="))
	if i < 0 {
		return p
	}
	var program []byte
	for range 1 + r.IntN(6) {
		program = append(program, operations[r.IntN(len(operations))])
	}
	return slices.Insert(p, i+2, program...)
}

// split cuts the input into pieces.
func split(r *rand.Rand, input []byte) (pieces [][]byte) {
	sizes := []int{1, 5, 50, 5000, 1 << 20}
	size := sizes[r.IntN(len(sizes))]
	for len(input) > 0 {
		n := min(len(input), 1+r.IntN(size))
		pieces = append(pieces, input[:n])
		input = input[n:]
	}
	return pieces
}
