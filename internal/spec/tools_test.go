package spec

import (
	"context"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
)

// The tests in this file run what others test servers with. Where such a tool
// is not installed its test is skipped, unless AERYS_INTEROP is "required".

// tool returns where a program is.
func tool(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("AERYS_INTEROP") == "required" {
		t.Fatalf("%s is missing: %s", name, install)
	} else if err != nil {
		t.Skipf("%s is missing: %s", name, install)
	}
	return path
}

// command is one that ends within a minute.
func command(t *testing.T, path string, arguments ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, arguments...)
}

// leftToNetHTTP are the cases of h2spec that net/http fails.
var leftToNetHTTP = []string{
	// It takes the second of two values in one SETTINGS frame after the response has begun.
	"http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
	// These are answered with 400, which RFC 9113 §8.1.1 allows, before no reset.
	"http2/8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
}

// readBody has what is wrong with a body noticed before the answer.
func readBody(req *aerys.Request, _ *aerys.Response) { io.Copy(io.Discard, req.Body()) }

// TestH2spec has h2spec check HTTP/2 (RFC 9113, RFC 7541).
func TestH2spec(t *testing.T) {
	h2spec := tool(t, "h2spec", "go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
	certFile, keyFile := writeCertificate(t, t.TempDir(), "localhost")
	for _, test := range []struct {
		name, flag string
		host       *aerys.Host
		left       []string
	}{
		// In clear text what is no HTTP/2 could be HTTP/1, and is answered as that.
		{"in clear text", "--tls=false", new(aerys.Host), append(leftToNetHTTP, "http2/3.5: Sends invalid connection preface")},
		{"over TLS", "--tls", new(aerys.Host).Encrypt(certFile, keyFile), leftToNetHTTP},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := run(t, aerys.Options{}, test.host.Expose("127.0.0.1", 0).Use(readBody, hello))
			port := strconv.Itoa(s.addresses[0].(*net.TCPAddr).Port)
			report := filepath.Join(t.TempDir(), "report.xml")
			output, _ := command(t, h2spec, "--port", port, test.flag, "--insecure", "--junit-report", report).CombinedOutput()
			cases, failed := readJUnit(t, report)
			if cases != 145 {
				t.Errorf("%d cases were run, not 145", cases)
			}
			for _, name := range failed {
				if !slices.Contains(test.left, name) {
					t.Error(name)
				}
			}
			t.Logf("%d of %d passed", cases-len(failed), cases)
			if t.Failed() {
				t.Logf("%s", output)
			}
		})
	}
}

// readJUnit reads a report in JUnit's format.
func readJUnit(t *testing.T, file string) (cases int, failed []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Cases []struct {
			Package string  `xml:"package,attr"`
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		if c.Failure != nil || c.Error != nil || c.Skipped != nil {
			failed = append(failed, c.Package+": "+c.Name)
		}
	}
	return len(report.Cases), failed
}

// TestSlowClients has slowhttptest attack a server in all of its ways at once,
// while others come and go.
func TestSlowClients(t *testing.T) {
	slowhttptest := tool(t, "slowhttptest", "apt-get install slowhttptest")
	const clients = 300 // of each attack
	s := run(t, aerys.Options{}, at(readBody, static.FS(fstest.MapFS{"page": {Data: make([]byte, 4<<10)}, "film": {Data: make([]byte, 4<<20)}}), hello))
	url := s.url()
	attacks := [][]string{
		{"-H", "-u", url},                                  // headers that never end
		{"-B", "-u", url},                                  // bodies that never end
		{"-R", "-t", "GET", "-u", url + "/page"},           // 1,300 ranges that overlap
		{"-X", "-k", "3", "-z", "32", "-u", url + "/film"}, // answers that are hardly read
	}
	var running sync.WaitGroup
	for _, attack := range attacks {
		running.Add(1)
		go func() {
			defer running.Done()
			arguments := append(attack, "-c", strconv.Itoa(clients), "-r", "150", "-i", "1", "-l", "8")
			if output, err := command(t, slowhttptest, arguments...).CombinedOutput(); err != nil {
				t.Errorf("%v: %v: %s", attack, err, output)
			}
		}()
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	most := int64(0)
	for attacked := true; attacked; {
		select {
		case <-ended:
			attacked = false // and ask once more
		case <-time.After(20 * time.Millisecond):
		}
		probe(t, url)
		most = max(most, s.open())
	}
	if n := s.connections().Accepted; n < 4*clients || most < clients { // a busy machine attacks slowly
		t.Errorf("%d clients came, %d at once: this was no attack", n, most)
	}
	eventually(t, "the end of all connections", func() bool { return s.open() == 0 })
}

// probe is a client like any other.
func probe(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "Hello, world!" {
		t.Errorf("answered %d %q", response.StatusCode, body)
	}
}
