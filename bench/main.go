// Command bench measures taskstore beside other stores and beside go-redis itself, which no
// store on that client can beat. It writes RESULTS.md, its plots, and results/*.csv.
//
//	go run .                 everything; about 12 minutes, and some GB of memory
//	go run . -quick          everything with small sizes, to see that it works
//	go run . -only stack     some topics; see -help
//
// Only a whole run writes the files here. Others print tables, or write the files into the
// directory of -out.
//
// It starts servers of its own: the redis-server of TASKSTORE_REDIS_SERVER and the PostgreSQL
// of TASKSTORE_POSTGRES_BIN, or the first that are found. No module depends on this one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
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
	{"latency", (*bench).latencyTopic},
	{"servers", (*bench).serversTopic},
	{"memory", (*bench).memoryTopic},
	{"list", (*bench).listTopic},
	{"quota", (*bench).quotaTopic},
	{"stores", (*bench).storesTopic},
	{"bytes", (*bench).bytesTopic},
	{"stack", (*bench).stackTopic},
	{"growth", (*bench).growthTopic},
}

func main() {
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
	}
	small := flag.Bool("quick", false, "small sizes and few turns: shows that it works, not how fast")
	only := flag.String("only", "", "regular expression of topics: "+strings.Join(names, " "))
	out := flag.String("out", "", "directory for RESULTS.md, plots and CSV; by default this one for a whole run, otherwise tables are printed")
	flag.Parse()
	cfg := full
	if *small {
		cfg = quick
	}
	if *out == "" && !*small && *only == "" {
		*out = "."
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, cfg, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure starts a server, measures the topics and writes the report.
func measure(ctx context.Context, cfg Config, only, out string) error {
	host := new(host)
	defer host.end()
	server, err := host.start()
	if err != nil {
		return err
	}
	program, err := redistest.Binary()
	if err != nil {
		return err
	}
	log := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	return newBench(cfg, server.Addr(), program, log).run(ctx, only, out)
}

// run writes to the directory out, or prints if that is empty.
func (b *bench) run(ctx context.Context, only, out string) (err error) {
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only is no regular expression: %w", err)
	}
	start := time.Now()
	for _, t := range topics {
		if !wanted.MatchString(t.name) {
			continue
		}
		b.log("%s", t.name)
		if err := t.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if len(b.report.sheets) == 0 {
		return fmt.Errorf("-only %s matches no topic", only)
	}
	about, err := describe(ctx, b, time.Since(start))
	if err != nil {
		return err
	}
	if out == "" {
		return b.report.print(os.Stdout, about)
	}
	return b.report.write(out, about)
}
