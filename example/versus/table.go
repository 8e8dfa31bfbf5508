package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// print shows the medians in Markdown, and what they were measured on. Behind
// them is what others took for each that the first server took in the same
// round: between rounds a shared machine may change its speed.
func (c *comparison) print() {
	fmt.Printf("\n| | | %s |\n|---|---|%s\n", strings.Join(c.names, " | "), strings.Repeat("---:|", len(c.names)))
	for _, figure := range figureNames {
		title := figure
		for _, test := range c.tests {
			row, empty := fmt.Sprintf("| %s | %s |", title, test), true
			for _, name := range c.names {
				values := c.values[cell{figure, test, name}]
				row += " " + median(slices.Collect(maps.Values(values)))
				if name != c.names[0] && slices.Contains(compared, figure) {
					row += ratio(values, c.values[cell{figure, test, c.names[0]}])
				}
				row += " |"
				empty = empty && len(values) == 0
			}
			if !empty {
				fmt.Println(row)
				title = ""
			}
		}
	}
	fmt.Println("\n" + c.machine())
	for _, f := range c.faults {
		fmt.Println("\n**Failed:**", f)
	}
}

// compared are the figures of which the ratio says something.
var compared = []string{cpuEach, latency50, latency99, rssEach}

// ratio is the median of the rounds' ratios, or empty if there are none.
func ratio(values, first map[int]float64) string {
	var ratios []float64
	for round, value := range values {
		if of, ok := first[round]; ok {
			ratios = append(ratios, value/of)
		}
	}
	if len(ratios) == 0 {
		return ""
	}
	return " (" + median(ratios) + "×)"
}

func median(values []float64) string {
	n := len(values)
	if n == 0 {
		return "–"
	}
	slices.Sort(values)
	switch m := (values[(n-1)/2] + values[n/2]) / 2; {
	case m >= 100 || m <= -100:
		return fmt.Sprintf("%.0f", m)
	case m >= 10:
		return fmt.Sprintf("%.1f", m)
	default:
		return fmt.Sprintf("%.2f", m)
	}
}

// machine says what the figures hold for.
func (c *comparison) machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(info), "model name\t: ")
	model, _, _ = strings.Cut(model, "\n")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	how := "not pinned"
	if c.pinned {
		how = "server and load pinned to one core each with GOMAXPROCS=1"
	}
	text := fmt.Sprintf("Medians of %d rounds of %v (idle: 3 at most) and, in brackets, of the ratios to %s in the same round, %s. %s, %d cores, Linux %s, %s, %s.", c.rounds, c.duration, c.names[0], how,
		model, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version(), time.Now().Format(time.DateOnly))
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if slices.Contains(peers, module.Path) {
				text += fmt.Sprintf(" %s %s,", strings.TrimPrefix(module.Path, "github.com/"), module.Version)
			}
		}
	}
	return strings.TrimSuffix(text, ",") + "."
}

// peers are the modules that the servers stand for.
var peers = []string{"github.com/gorilla/websocket", "github.com/coder/websocket", "github.com/gobwas/ws",
	"github.com/lxzan/gws", "github.com/lesismal/nbio"}
