package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var (
	nextCall = regexp.MustCompile(`^next: .*?[Cc]all (\S+) with (\{.*)`)
	anyURL   = regexp.MustCompile(`http:\S+`)
)

// A host runs the server and the client, and connects again when the server is gone.
type host struct {
	transport, command string
	args               []string
	pid                string // file with the id of the server's process
	session            *mcp.ClientSession
}

// number returns a number from the environment.
func number(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

func (h *host) start() error {
	dir, err := os.MkdirTemp("", "plain-")
	if err != nil {
		return err
	}
	h.pid = filepath.Join(dir, "pid")
	h.args = append(h.args, "-pid", h.pid)
	return h.connect()
}

func (h *host) connect() error {
	var transport mcp.Transport = &mcp.CommandTransport{Command: exec.Command(h.command, append(h.args, "-stdio")...)}
	if h.transport == "http" {
		url, err := h.serve()
		if err != nil {
			return err
		}
		transport = &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: alice{}}}
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "go-plain", Version: "1"}, nil)
	var err error
	h.session, err = client.Connect(context.Background(), transport, &mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	return err
}

// serve starts the server over HTTP and returns its URL.
func (h *host) serve() (string, error) {
	server := exec.Command(h.command, h.args...)
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return "", err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	go func() { _ = server.Wait() }()
	if url := anyURL.FindString(line); url != "" {
		return url, nil
	}
	return "", fmt.Errorf("the server did not start: %s", line)
}

// kill ends the server as kill -9 does.
func (h *host) kill() {
	said, _ := os.ReadFile(h.pid)
	if pid, err := strconv.Atoi(string(said)); err == nil {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}

func (h *host) restart() error {
	h.kill()
	_ = h.session.Close()
	return h.connect()
}

// alice sends her token.
type alice struct{}

func (alice) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer alice")
	return http.DefaultTransport.RoundTrip(req)
}
