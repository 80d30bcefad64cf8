//go:build integration && unix

package main

import (
	"bufio"
	"context"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// programs is the directory of the client and the server, which TestMain compiles.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "taskstore-client-"); err != nil {
		log.Fatal(err)
	}
	code := 1
	if out, err := exec.Command("go", "build", "-o", programs+"/", ".", "../server").CombinedOutput(); err != nil {
		log.Printf("%v\n%s", err, out)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// execute runs a program to its end and returns all that it printed.
func execute(t *testing.T, program string, args ...string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	all, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %q goes on: %s", program, args, all)
	}
	return string(all), err == nil
}

// serve starts the server and returns its URL, when it listens.
func serve(t *testing.T) (url string) {
	t.Helper()
	server := exec.Command(filepath.Join(programs, "server"), "-addr", "127.0.0.1:0")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`http://\S+`).FindString(line)
}

// The client tries each tool that the server names, over HTTP and on stdio.
func TestTheClientTriesEveryTool(t *testing.T) {
	for name, args := range map[string][]string{
		"HTTP":  {"-url", serve(t)},
		"stdio": {filepath.Join(programs, "server"), "-stdio"},
	} {
		t.Run(name, func(t *testing.T) {
			out, ok := execute(t, filepath.Join(programs, "client"), args...)
			if !ok {
				t.Error("the client failed")
			}
			rest := out
			for _, line := range []string{
				"count map[to:5]", "is completed", "=> counted to 5 (error: false)",
				"delete map[file:notes.txt]", "is input_required", "Delete notes.txt?  I accept.", "=> deleted notes.txt (error: false)",
				"fail map[]", "is completed", "=> this tool always fails (error: true)",
				"refuse map[]", "is failed", "=> the task failed: no such shelf",
				"count map[to:1000]", "=> the client gave up, so the task was cancelled",
			} {
				_, after, found := strings.Cut(rest, line)
				if !found {
					t.Fatalf("%q is missing, or not in its place, in:\n%s", line, out)
				}
				rest = after
			}
		})
	}
}

// Both programs say what is wrong with their arguments, and what to do.
func TestMistakesAreTold(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := taken.Addr().String()
	for _, c := range []struct{ program, args, want string }{
		{"client", "-to -1", "give a number from 1"},
		{"client", "-url http://" + free + "/ server", "not both"},
		{"client", "http://" + free + "/", "give the URL of a server as -url http://" + free + "/"},
		{"client", "./absent", "no session with ./absent as an MCP server on stdio"},
		{"server", "extra", `unexpected argument "extra"`},
		{"server", "-stdio -addr " + free, "not both"},
		{"server", "-addr " + free, "choose another address, or -addr 127.0.0.1:0"},
		{"server", "-store nonsense", "it must begin with one of memory:"},
	} {
		if out, ok := execute(t, filepath.Join(programs, c.program), strings.Fields(c.args)...); ok || !strings.Contains(out, c.want) {
			t.Errorf("%s %s: %q is missing in %s", c.program, c.args, c.want, out)
		}
	}
	taken.Close()
	out, ok := execute(t, filepath.Join(programs, "client"), "-url", "http://"+free+"/")
	if want := "start the example server, or give its URL with -url"; ok || !strings.Contains(out, want) {
		t.Errorf("without a server: %q is missing in %s", want, out)
	}
}
