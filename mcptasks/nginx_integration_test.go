//go:build integration && unix

package mcptasks_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nginxProgram finds nginx, or installs it if CI=true.
func nginxProgram(t testing.TB) string {
	t.Helper()
	find := func() (string, error) {
		for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"} {
			if path, err := exec.LookPath(name); err == nil {
				return path, nil
			}
		}
		return "", exec.ErrNotFound
	}
	path, err := find()
	if err != nil && os.Getenv("CI") == "true" {
		if out, err := exec.Command("bash", "../scripts/ensure-redis.sh", "--packages", "nginx-light").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		path, err = find()
	}
	if err != nil {
		t.Skip("there is no nginx here: bash scripts/ensure-redis.sh --packages nginx-light installs one")
	}
	return path
}

// behindNginx has nginx stand in front of the replica with the settings that it has
// by itself, but for a shorter time that a server may be silent.
func (r *replica) behindNginx(silent time.Duration) {
	r.t.Helper()
	program, dir := nginxProgram(r.t), r.t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	config := fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		location / {
			proxy_pass %[3]s;
			proxy_read_timeout %[4]dms;
		}
	}
}
`, dir, address, r.url, silent.Milliseconds())
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	log := new(lockedBuffer)
	cmd := exec.Command(program, "-p", dir, "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			r.url = "http://" + address
			return
		}
		select {
		case <-ended:
			r.t.Fatalf("nginx ended: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	r.t.Fatalf("nginx does not listen: %s", log)
}

// Through nginx as it comes, which buffers answers and leaves a server that is
// silent, a stream is as without it: pushes come at once, and it lives on.
func TestStreamsPassThroughNginx(t *testing.T) {
	const silent = time.Second
	r := start(t, memory(), nil, asking)
	r.tasks.SetKeepAlive(silent / 5)
	r.behindNginx(silent)
	c := r.as("alice")
	id := c.create("ask", nil)
	c.until(id, "input_required")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := c.http.Do(c.request(ctx, "subscriptions/listen", map[string]any{"notifications": map[string]any{"taskIds": []string{id}}}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Server"), "nginx") {
		t.Fatalf("%s with %v", resp.Status, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	until := func(what, part string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if strings.Contains(line, part) {
				return
			}
		}
	}
	until("the acknowledgement", "acknowledged")
	until("the snapshot", `"input_required"`)
	for range 15 { // three times as long as nginx waits
		until("it lives", ": keep-alive")
	}
	c.cancel(id)
	until("the change", `"cancelled"`)
	until("the end", `"resultType":"complete"`)
}

// A status of ours comes through, too.
func TestNotNowPassesThroughNginx(t *testing.T) {
	store := &failing{StorageBackend: memory()}
	r := start(t, store, nil, asking)
	r.behindNginx(time.Minute)
	c := r.as("alice")
	id := c.create("ask", nil)
	store.fail(fmt.Errorf("connection refused"))
	got, header := c.doHeader("tasks/get", map[string]any{"taskId": id})
	if got.HTTP != http.StatusServiceUnavailable || header.Get("Retry-After") != "1" || got.Error == nil || got.Error.Data["retryable"] != true {
		t.Errorf("%v with %v", got, header)
	}
}
