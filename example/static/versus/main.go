// Command versus compares the CPU time that static file servers take for a
// request: example/static, net/http's FileServer and nginx as Debian
// configures it. It needs Linux with taskset, wrk and nginx
// (apt-get install nginx-light wrk), and runs from the module's root:
//
//	go run ./example/static/versus
//
// Servers take turns on core 0, the load runs on core 1, and the table shows
// medians over the rounds, so that a busy machine disturbs all alike.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var sizes = []struct {
	name  string
	bytes int
}{{"1KiB", 1 << 10}, {"100KiB", 100 << 10}, {"10MiB", 10 << 20}}

// contender is a server under test.
type contender struct {
	name    string
	address string
	command *exec.Cmd
	results map[string][]float64 // µs a request, by name of the file
}

func main() {
	rounds := flag.Int("rounds", 7, "how often servers take turns")
	seconds := flag.Int("seconds", 1, "that each measurement takes")
	connections := flag.Int("connections", 16, "kept alive")
	fileServer := flag.String("fileserver", "", "internal: serve a directory by http.FileServer")
	addr := flag.String("addr", "", "internal: where")
	flag.Parse()
	if *fileServer != "" {
		log.Fatal(http.ListenAndServe(*addr, http.FileServer(http.Dir(*fileServer))))
	}
	work, err := os.MkdirTemp("", "versus")
	check(err)
	defer os.RemoveAll(work)
	contenders := start(work)
	defer stop(contenders)
	for round := range *rounds {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			for _, size := range sizes {
				c.results[size.name] = append(c.results[size.name], c.measure(size.name, *seconds, *connections))
			}
		}
	}
	print(contenders)
}

// start makes the files and starts all servers on core 0.
func start(work string) []*contender {
	tree := filepath.Join(work, "tree")
	check(os.Mkdir(tree, 0o755))
	check(os.Chmod(work, 0o755)) // nginx's worker is another user
	for _, size := range sizes {
		path := filepath.Join(tree, size.name)
		check(os.WriteFile(path, []byte(strings.Repeat("0123456789abcde\n", size.bytes/16)), 0o644))
		lastYear := time.Now().AddDate(-1, 0, 0) // a file that was just written is not kept in memory
		check(os.Chtimes(path, lastYear, lastYear))
	}
	binary := filepath.Join(work, "aerys")
	output, err := exec.Command("go", "build", "-o", binary, "./example/static").CombinedOutput()
	if err != nil {
		log.Fatalf("run this from the module's root: %v\n%s", err, output)
	}
	self, err := os.Executable()
	check(err)
	ours, theirs, nginx := freeAddress(), freeAddress(), freeAddress()
	contenders := []*contender{
		pinned("aerys", ours, binary, "-addr", ours, "-root", tree),
		pinned("http.FileServer", theirs, self, "-fileserver", tree, "-addr", theirs),
		pinned("nginx", nginx, "nginx", "-c", configure(work, tree, nginx), "-e", "stderr"),
	}
	for _, c := range contenders {
		if err := c.ready(); err != nil {
			stop(contenders)
			log.Fatalf("%s does not start: %v", c.name, err)
		}
	}
	return contenders
}

func stop(contenders []*contender) {
	for _, c := range contenders {
		c.command.Process.Signal(os.Interrupt)
		c.command.Wait()
	}
}

// configure writes Debian's nginx.conf with the site and its own directories.
func configure(work, tree, address string) string {
	debian, err := os.ReadFile("/etc/nginx/nginx.conf")
	check(err)
	site := fmt.Sprintf("server { listen %s; root %s; location / { try_files $uri $uri/ =404; } }", address, tree)
	config := strings.NewReplacer(
		"pid /run/nginx.pid;", "daemon off; pid "+work+"/nginx.pid;",
		"/var/log/nginx/", work+"/",
		"include /etc/nginx/conf.d/*.conf;", site,
		"include /etc/nginx/sites-enabled/*;", "",
	).Replace(string(debian))
	path := filepath.Join(work, "nginx.conf")
	check(os.WriteFile(path, []byte(config), 0o644))
	return path
}

// pinned starts a server on core 0.
func pinned(name, address string, command ...string) *contender {
	c := exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	c.Stderr = os.Stderr
	check(c.Start())
	return &contender{name, address, c, map[string][]float64{}}
}

// ready waits until the server accepts.
func (c *contender) ready() (err error) {
	for range 200 {
		conn, failed := net.Dial("tcp", c.address)
		if err = failed; err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().String()
}

var requests = regexp.MustCompile(`(\d+) requests in`)

// measure returns the server's CPU time a request, in µs.
func (c *contender) measure(file string, seconds, connections int) float64 {
	before := cpu(c.command.Process.Pid)
	output, err := exec.Command("taskset", "-c", "1", "wrk", "-t1", "-c", strconv.Itoa(connections),
		"-d", strconv.Itoa(seconds)+"s", "http://"+c.address+"/"+file).CombinedOutput()
	used := cpu(c.command.Process.Pid) - before
	found := requests.FindSubmatch(output)
	if err != nil || found == nil || strings.Contains(string(output), "Non-2xx") {
		log.Panicf("%s: wrk: %v\n%s", c.name, err, output)
	}
	count, _ := strconv.Atoi(string(found[1]))
	return float64(used.Microseconds()) / float64(count)
}

// cpu returns the time that a process and its children have used.
func cpu(pid int) (used time.Duration) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	for _, field := range fields[11:13] { // utime and stime, in 1/100 s
		ticks, _ := strconv.Atoi(field)
		used += time.Duration(ticks) * 10 * time.Millisecond
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	for _, child := range strings.Fields(string(children)) {
		id, _ := strconv.Atoi(child)
		used += cpu(id)
	}
	return used
}

// print prints medians, and their ratio to the first server's.
func print(contenders []*contender) {
	fmt.Printf("%-18s", "CPU µs a request")
	for _, size := range sizes {
		fmt.Printf("%18s", size.name)
	}
	fmt.Println()
	for _, c := range contenders {
		fmt.Printf("%-18s", c.name)
		for _, size := range sizes {
			value := median(c.results[size.name])
			fmt.Printf("%10.1f (%.2f)", value, value/cmp.Or(median(contenders[0].results[size.name]), 1))
		}
		fmt.Println()
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// check panics, so that main stops the servers.
func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
