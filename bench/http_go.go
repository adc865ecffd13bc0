// Usage: http_go PORT ROOT
// Go's own http server on one processor, with the answers that the loads of bench/run ask for: /, /1k,
// /64k, POST /echo, and below /files/ what is in the folder ROOT.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
)

var letters = bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), 65536/26+1)[:65536]
var hello = []byte("Hello, World!")

func answer(w http.ResponseWriter, r *http.Request) {
	var body []byte
	var err error
	switch r.URL.Path {
	case "/":
		body = hello
	case "/1k":
		body = letters[:1024]
	case "/64k":
		body = letters
	case "/echo":
		if r.Method == "POST" {
			body, err = io.ReadAll(r.Body)
		}
	}
	if body == nil || err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: http_go PORT ROOT")
	}
	runtime.GOMAXPROCS(1)
	http.HandleFunc("/", answer)
	http.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(os.Args[2]))))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
