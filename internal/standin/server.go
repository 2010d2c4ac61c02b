package standin

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Content is what a Server serves.
type Content struct {
	// Suite is the name of the only suite of the Debian repository.
	Suite string
	// Wheels has the content of some packages of the index. All other names exist
	// too, as empty packages.
	Wheels []Wheel
	// Projects are the source tarballs below /tarballs, as
	// openstack/NAME/NAME-VERSION.tar.gz for any VERSION. Other names are
	// projects of AnyProject.
	Projects []Project
	// Files is served below /files by path.
	Files map[string][]byte
	// RPMDir is a directory that WriteRPMs fills, served below /rpm. "" means
	// none.
	RPMDir string
}

// Server serves a Debian repository (/apt), a Python package index
// (/pypi/simple), source tarballs (/tarballs) and files (/files) on this machine.
type Server struct {
	listener net.Listener
	http     *http.Server
	suite    string

	mu      sync.Mutex
	debs    map[string]Deb
	files   map[string][]byte
	apt     *aptRepo
	moves   int // of the Debian repository
	missing []string
}

// Start listens on a free port of the loopback interface.
func Start(content Content) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the stand-in server: %w", err)
	}
	s := &Server{listener: l, suite: content.Suite, debs: map[string]Deb{}, files: maps.Clone(content.Files)}
	s.AddDebs()
	index := &pyIndex{special: map[string]Wheel{}}
	for _, w := range content.Wheels {
		index.special[normalize(w.Name)] = w
	}
	mux := http.NewServeMux()
	mux.Handle("/apt/", http.StripPrefix("/apt", http.HandlerFunc(s.serveApt)))
	mux.Handle("/pypi/", http.StripPrefix("/pypi", index))
	projects := map[string]Project{}
	for _, p := range content.Projects {
		projects[p.Name] = p
	}
	mux.HandleFunc("/tarballs/openstack/{name}/{file}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		rest, ok := strings.CutPrefix(r.PathValue("file"), name+"-")
		if !ok || !strings.HasSuffix(rest, ".tar.gz") {
			http.NotFound(w, r)
			return
		}
		p, ok := projects[name]
		if !ok {
			p = AnyProject(name)
		}
		serve(w, r, p.TarGz(), stamp)
	})
	if content.RPMDir != "" {
		mux.Handle("/rpm/", http.StripPrefix("/rpm", http.FileServer(http.Dir(content.RPMDir))))
	}
	mux.HandleFunc("/files/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		data, ok := s.files[r.URL.Path[len("/files/"):]]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		serve(w, r, data, stamp)
	})
	s.http = &http.Server{Handler: s.noteMissing(mux)}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic("standin: " + err.Error()) // the listener is not shared
		}
	}()
	return s, nil
}

// URL returns the address of the server without a slash at the end.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close stops the server.
func (s *Server) Close() error { return s.http.Close() }

// AddDebs adds packages to the repository in place of those with the same name.
func (s *Server) AddDebs(debs ...Deb) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range debs {
		s.debs[d.Name] = d
	}
	s.moves++
	s.apt = newAptRepo(s.suite, s.debs, stamp.Add(time.Duration(s.moves)*time.Second))
}

// SetFile replaces one of Content.Files.
func (s *Server) SetFile(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = data
}

// Missing returns the paths that were requested and do not exist, each once.
func (s *Server) Missing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.missing)
}

// AptSource returns a .sources file for the repository.
func (s *Server) AptSource() string {
	return fmt.Sprintf("Types: deb\nURIs: %s/apt\nSuites: %s\nComponents: main\nTrusted: yes\n", s.URL(), s.suite)
}

// PipConf returns an /etc/pip.conf with the index.
func (s *Server) PipConf() string {
	return fmt.Sprintf("[global]\nindex-url = %s/pypi/simple\ndisable-pip-version-check = true\n", s.URL())
}

func (s *Server) serveApt(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	apt := s.apt
	s.mu.Unlock()
	apt.ServeHTTP(w, r)
}

// noteMissing records a path that was not found.
func (s *Server) noteMissing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		if rec.status == http.StatusNotFound {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Contains(s.missing, r.URL.Path) {
				s.missing = append(s.missing, r.URL.Path)
			}
		}
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// serve answers with data, whole, in ranges, or "not modified".
func serve(w http.ResponseWriter, r *http.Request, data []byte, modified time.Time) {
	w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sha256.Sum256(data)))
	http.ServeContent(w, r, "", modified, bytes.NewReader(data))
}
