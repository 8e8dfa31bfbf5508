// Command versus compares the CPU time that static file servers take for a
// request: example/static, net/http's FileServer, and nginx with the
// configuration that Debian ships (sendfile, tcp_nopush, gzip and an access
// log) but one worker, also without the log. It needs Linux with taskset and
// nginx (apt-get install nginx-light), and runs from the module's root:
//
//	go run ./example/static/versus
//
// Servers take turns on core 0, one thread of each at a time; the load, which
// runs on core 1, asks for one file over and over on connections that are kept
// alive, and accepts no coding. What counts is for how long the kernel had the
// threads of the server on the core. Within a round a server is compared with
// aerys at most seconds apart, and the table shows medians and quartiles over
// the rounds, so that a busy machine disturbs all alike.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	rounds := flag.Int("rounds", 15, "how often servers take turns")
	period := flag.Duration("period", 600*time.Millisecond, "that each measurement takes")
	connections := flag.Int("connections", 16, "kept alive")
	loaded := flag.String("load", "", "internal: ask for this file, and print how often it came")
	fileServer := flag.String("fileserver", "", "internal: serve a directory by http.FileServer")
	addr := flag.String("addr", "", "internal: where")
	flag.Parse()
	switch {
	case *loaded != "":
		fmt.Print(load(*addr, *loaded, *period, *connections))
		return
	case *fileServer != "":
		log.Fatal(http.ListenAndServe(*addr, http.FileServer(http.Dir(*fileServer))))
	}
	work, err := os.MkdirTemp("", "versus")
	check(err)
	defer os.RemoveAll(work)
	contenders := start(work)
	defer stop(contenders)
	for round := -1; round < *rounds; round++ { // the first one fills caches
		for _, size := range sizes {
			for i := range contenders {
				c := contenders[(i+round+1)%len(contenders)]
				if used := c.measure(size.name, *period, *connections); round >= 0 {
					c.results[size.name] = append(c.results[size.name], used)
				}
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
	ours, theirs, nginx, silent := freeAddress(), freeAddress(), freeAddress(), freeAddress()
	contenders := []*contender{
		pinned("aerys", ours, binary, "-addr", ours, "-root", tree),
		pinned("http.FileServer", theirs, self(), "-fileserver", tree, "-addr", theirs),
		pinned("nginx", nginx, "nginx", "-c", configure(work, tree, nginx, "logging"), "-e", "stderr"),
		pinned("nginx, no log", silent, "nginx", "-c", configure(work, tree, silent, "silent"), "-e", "stderr"),
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

// self is the path of this program.
func self() string {
	path, err := os.Executable()
	check(err)
	return path
}

// configure writes Debian's nginx.conf with the site and its own directories,
// and without an access log if its name is "silent".
func configure(work, tree, address, name string) string {
	debian, err := os.ReadFile("/etc/nginx/nginx.conf")
	check(err)
	site := fmt.Sprintf("server { listen %s; root %s; location / { try_files $uri $uri/ =404; } }", address, tree)
	replacements := []string{
		"worker_processes auto;", "worker_processes 1;",
		"pid /run/nginx.pid;", "daemon off; pid " + work + "/" + name + ".pid;",
		"include /etc/nginx/conf.d/*.conf;", site,
		"include /etc/nginx/sites-enabled/*;", "",
	}
	if name == "silent" {
		replacements = append(replacements, "access_log /var/log/nginx/access.log;", "access_log off;")
	}
	replacements = append(replacements, "/var/log/nginx/", work+"/")
	path := filepath.Join(work, name+".conf")
	check(os.WriteFile(path, []byte(strings.NewReplacer(replacements...).Replace(string(debian))), 0o644))
	return path
}

// pinned starts a server on core 0.
func pinned(name, address string, command ...string) *contender {
	c := exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
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

// measure returns the server's CPU time a request, in µs.
func (c *contender) measure(file string, period time.Duration, connections int) float64 {
	load := exec.Command("taskset", "-c", "1", self(), "-load", file, "-addr", c.address,
		"-period", period.String(), "-connections", strconv.Itoa(connections))
	load.Stderr = os.Stderr
	before := cpu(c.command.Process.Pid)
	output, err := load.Output()
	used := cpu(c.command.Process.Pid) - before
	check(err)
	answers, err := strconv.Atoi(string(output))
	check(err)
	return float64(used) / 1000 / float64(answers)
}

// cpu returns the time in ns for which the threads of a process and of its
// children ran.
func cpu(pid int) (used int64) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	check(err)
	for _, thread := range threads {
		var ran int64
		schedstat, err := os.ReadFile(thread + "/schedstat")
		check(err)
		_, err = fmt.Sscan(string(schedstat), &ran)
		check(err)
		used += ran
		children, _ := os.ReadFile(thread + "/children")
		for _, child := range strings.Fields(string(children)) {
			id, _ := strconv.Atoi(child)
			used += cpu(id)
		}
	}
	return used
}

// print prints what a request took, and aerys's share of that.
func print(contenders []*contender) {
	fmt.Println("file    server           CPU µs   aerys / it (quartiles)")
	for _, size := range sizes {
		ours := contenders[0].results[size.name]
		for _, c := range contenders {
			theirs := c.results[size.name]
			ratios := make([]float64, len(ours))
			for i := range ours {
				ratios[i] = ours[i] / theirs[i]
			}
			fmt.Printf("%-7s %-16s %7.1f   %.3f (%.3f to %.3f)\n", size.name, c.name,
				quantile(theirs, 2), quantile(ratios, 2), quantile(ratios, 1), quantile(ratios, 3))
		}
	}
}

// quantile returns the value that so many quarters of the values are below.
func quantile(values []float64, quarters int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*quarters/4]
}

// check panics, so that main stops the servers.
func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
