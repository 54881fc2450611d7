// net/http behind the lines of JSON of calling.py: "Go" is the default transport with the test's certificates,
// "Go with sessions" has a ClientSessionCache, too.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
)

type asked struct {
	Do, Peer, Method, URL string
	Count                 int
	Headers               map[string]string
}

func begin(peer string, settings *tls.Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = settings.Clone()
	if peer == "Go with sessions" {
		transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return &http.Client{Transport: transport}
}

func call(client *http.Client, what asked) any {
	request, err := http.NewRequest(what.Method, what.URL, nil)
	if err != nil {
		panic(err)
	}
	for name, value := range what.Headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return map[string]int{"status": response.StatusCode, "size": len(body)}
}

func burst(client *http.Client, what asked) []any {
	came := make(chan any)
	for range what.Count {
		go func() { came <- call(client, what) }()
	}
	all := make([]any, what.Count)
	for at := range all {
		all[at] = <-came
	}
	return all
}

func settings(caFile, certificateFile, keyFile string) *tls.Config {
	authorities, err := os.ReadFile(caFile)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		panic(err)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

func main() {
	trusted := settings(os.Args[1], os.Args[2], os.Args[3])
	var client *http.Client
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what asked
		if err := json.Unmarshal(lines.Bytes(), &what); err != nil {
			panic(err)
		}
		var answer any
		switch what.Do {
		case "begin":
			client = begin(what.Peer, trusted)
			answer = map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go")}
		case "call":
			answer = call(client, what)
		case "burst":
			answer = burst(client, what)
		default:
			// Contexts are not counted.
			answer = 0
		}
		line, err := json.Marshal(answer)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}
