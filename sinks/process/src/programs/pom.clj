;; Prints a pom.xml with the Maven dependencies of ./deps.edn. What Maven cannot fetch is refused by name.
(require '[clojure.edn :as edn])
(letfn [(fail [& words]
          (binding [*out* *err*] (println (apply str "deps.edn: " words)))
          (System/exit 1))
        (xml [text]
          (let [text (str text)]
            (when-not (re-matches #"[A-Za-z0-9._+-]+" text) (fail (pr-str text) " is no name or version"))
            text))]
  (let [manifest (try (edn/read-string (slurp "deps.edn")) (catch Exception e (fail (.getMessage e))))]
    (when-not (map? manifest) (fail "must be a map with :deps"))
    (println "<project><modelVersion>4.0.0</modelVersion><groupId>image</groupId><artifactId>image</artifactId><version>1</version>")
    (println "<repositories><repository><id>clojars</id><url>https://repo.clojars.org/</url></repository></repositories><dependencies>")
    (doseq [[library coordinate] (:deps manifest)]
      (let [version (:mvn/version coordinate)]
        (when-not version (fail library " has no :mvn/version; only libraries of Maven repositories can be installed"))
        (println (str "<dependency><groupId>" (xml (or (namespace library) (name library))) "</groupId><artifactId>"
                      (xml (name library)) "</artifactId><version>" (xml version) "</version></dependency>"))))
    (println "</dependencies></project>")))
