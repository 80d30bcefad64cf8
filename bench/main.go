// Command bench measures taskstore beside other stores and beside the limit, go-redis
// itself, and writes RESULTS.md and the plots in it.
//
//	go run .                 everything; about 20 minutes, and some GB of memory
//	go run . -quick          everything with small sizes; less than a minute
//	go run . -only watch     some sections; see -help
//	go run . -check          exit 1 if a promised ratio is missed, and its quartiles too
//
// Only a whole run writes RESULTS.md by itself; others write to standard output, or
// to the file that -out names.
//
// It starts a redis-server of its own: the one that TASKSTORE_REDIS_SERVER names, or
// the first that is found; and for the stores side by side a PostgreSQL, of the directory
// that TASKSTORE_POSTGRES_BIN names, or the first that is found. The module is no dependency of the others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/taskstore/taskstore/internal/redistest"
)

// A topic is a part of the run that can be asked for by name.
type topic struct {
	name    string
	measure func(*bench, context.Context) error
}

var topics = []topic{
	{"work", (*bench).workSections},
	{"contend", (*bench).contendSections},
	{"server", (*bench).serverTimeSections},
	{"list", (*bench).listSections},
	{"quota", (*bench).quotaSections},
	{"expiry", (*bench).expirySections},
	{"watch", (*bench).watchSections},
	{"stores", (*bench).storeSections},
	{"memory", (*bench).usageSections},
	{"stack", (*bench).stackSections},
	{"growth", (*bench).growthSections},
	{"scale", (*bench).scaleSections},
}

func main() {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	small := flag.Bool("quick", false, "small sizes and few turns: shows that it works, not how fast")
	only := flag.String("only", "", "regular expression of the measurements to run: "+strings.Join(names, " "))
	check := flag.Bool("check", false, "exit 1 if a promised ratio is missed, and its quartiles too")
	out := flag.String("out", "", "file to write, with plots beside it; by default RESULTS.md for a whole run, otherwise standard output without plots")
	flag.Parse()
	cfg := full
	if *small {
		cfg = quick
	}
	if *out == "" && !*small && *only == "" {
		*out = "RESULTS.md"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	targets, err := measure(ctx, cfg, *only, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	bad := missed(targets)
	for _, t := range bad {
		fmt.Fprintf(os.Stderr, "missed: %s: %s\n", t.What, figure(t.Measured.Median))
	}
	if *check && len(bad) > 0 {
		os.Exit(1)
	}
}

// measure starts a server, runs the topics and writes the report.
func measure(ctx context.Context, cfg Config, only, out string) ([]Target, error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only is no regular expression: %w", err)
	}
	host := new(host)
	defer host.end()
	server, err := host.start()
	if err != nil {
		return nil, err
	}
	program, err := redistest.Binary()
	if err != nil {
		return nil, err
	}
	log := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	return runTopics(ctx, cfg, wanted, server.Addr(), program, out, log)
}

// runTopics writes to out, or to standard output where that is empty.
func runTopics(ctx context.Context, cfg Config, wanted *regexp.Regexp, addr, program, out string, log func(string, ...any)) (targets []Target, err error) {
	start := time.Now()
	var chosen []topic
	for _, t := range topics {
		if wanted.MatchString(t.name) {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-only %s matches no measurement", wanted)
	}
	file := os.Stdout
	if out != "" {
		// Made now: that it cannot be made shows before all that work, and a file that was
		// there stays whole until another is.
		if file, err = os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".new-*"); err != nil {
			return nil, err
		}
		defer os.Remove(file.Name())
		defer file.Close()
	}
	b := newBench(cfg, addr, program, log)
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	about, err := describe(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, t := range chosen {
		log("%s", t.name)
		if err := t.measure(b, ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if len(chosen) == len(topics) {
		b.closing()
	}
	about = append(about, fmt.Sprintf("run: %s, %v", cfg.Name, time.Since(start).Round(time.Second)))
	if err := b.report.write(file, about); err != nil || out == "" {
		return b.report.targets, err
	}
	for name, svg := range b.report.files {
		if err := os.WriteFile(filepath.Join(filepath.Dir(out), name), svg, 0o644); err != nil {
			return nil, err
		}
	}
	return b.report.targets, errors.Join(file.Chmod(0o644), file.Close(), os.Rename(file.Name(), out))
}

// closing adds what is judged only when everything has been measured, and what is
// said of the whole.
func (b *bench) closing() {
	b.targetAhead("update")
	b.targetAhead("list")
	b.report.whole = true
	b.report.section("Reading the figures").text("%s", reading)
	b.report.section("Who is not here").text("%s", absent)
}
