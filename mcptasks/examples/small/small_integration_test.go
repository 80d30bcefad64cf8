//go:build integration && unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/mcptasks"
)

// build compiles the server for another address.
func build(t *testing.T, addr string) (program string) {
	t.Helper()
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	const published = `"127.0.0.1:8080"`
	if strings.Count(string(source), published) != 1 {
		t.Fatalf("main.go does not name %s once", published)
	}
	dir := t.TempDir()
	moved, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: moved}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{moved: bytes.Replace(source, []byte(published), []byte(`"`+addr+`"`), 1), overlay: replaced} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program = filepath.Join(dir, "small")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// freeAddr returns an address that no server listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the program in dir until it listens.
func start(t *testing.T, program, dir, addr string, log *bytes.Buffer) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir, cmd.Stderr, cmd.Env = dir, log, append(os.Environ(), "TOKEN=secret")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return cmd
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// bearer sends the token along.
type bearer struct{}

func (bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer secret")
	return http.DefaultTransport.RoundTrip(req)
}

// A task of README's server survives kill -9, and SIGTERM ends the server cleanly.
func TestTaskSurvivesKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	addr, dir := freeAddr(t), t.TempDir()
	program := build(t, addr)
	var first, second bytes.Buffer
	killed := start(t, program, dir, addr, &first)
	resp, err := http.Post("http://"+addr+"/", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without a token gets %s", resp.Status)
	}

	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	if err := mcptasks.InstallClient(client, nil); err != nil {
		t.Fatal(err)
	}
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: "http://" + addr + "/", HTTPClient: &http.Client{Transport: mcptasks.RoundTripper(bearer{})},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	task, _, err := mcptasks.StartTool(ctx, session, &mcp.CallToolParams{Name: "render", Arguments: input{Frames: 4}})
	if err != nil || task == nil {
		t.Fatal(task, err)
	}
	for seen := task; !strings.HasPrefix(seen.StatusMessage, "2 of 4"); time.Sleep(100 * time.Millisecond) {
		if seen, err = mcptasks.GetTask(ctx, session, task.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()

	resumed := start(t, program, dir, addr, &second)
	res, err := mcptasks.Await(ctx, session, task.ID)
	if err != nil {
		t.Fatalf("%v\n%s", err, &second)
	}
	if text, ok := res.Content[0].(*mcp.TextContent); !ok || text.Text != "rendered" || res.IsError {
		t.Errorf("the result is %+v", res)
	}
	if err := resumed.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := resumed.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if log := second.String(); !strings.Contains(log, `"msg":"mcptasks: this server resumes a lost task","tool":"render"`) {
		t.Errorf("the log does not tell of the lost task: %s", log)
	}
}
