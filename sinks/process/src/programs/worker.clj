;; Loads a Clojure function for the JVM worker: the value of this file is a BiFunction from folder and handler to the
;; function. Context and payload come with keywords as keys; keywords in the result become strings.
(letfn [(in [value]
          (cond
            (instance? java.util.Map value)
            (persistent! (reduce (fn [m [k v]] (assoc! m (keyword k) (in v))) (transient {}) value))
            (instance? java.util.List value) (mapv in value)
            :else value))
        (text [value]
          (if (instance? clojure.lang.Named value)
            (if-let [space (namespace value)] (str space "/" (name value)) (name value))
            (str value)))
        (out [value]
          (cond
            (map? value) (let [to (java.util.LinkedHashMap.)]
                           (doseq [[k v] value] (.put to (text k) (out v)))
                           to)
            (instance? java.util.Map value) value
            (or (coll? value) (seq? value)) (java.util.ArrayList. ^java.util.Collection (mapv out value))
            (instance? clojure.lang.Named value) (text value)
            (ratio? value) (double value)
            :else value))
        (public [space function]
          (let [found (ns-resolve space (symbol function))]
            (when (and (var? found) (= space (.ns ^clojure.lang.Var found)) (.isPublic ^clojure.lang.Var found) (ifn? @found))
              found)))
        (by-name [handler]
          (let [[_ space function] (re-matches #"([^/]+)/(.+)" handler)]
            (when-not space
              (throw (IllegalArgumentException. (str \" handler \" " is not of the form namespace/function"))))
            (require (symbol space))
            (or (public (find-ns (symbol space)) function)
                (throw (IllegalArgumentException. (str "namespace " space " has no function " function))))))
        (only-file [folder]
          (let [file (first (.listFiles (java.io.File. ^String folder)))
                space (atom nil)]
            (binding [*ns* (create-ns 'user)]
              (load-file (str file))
              ;; The namespace is what the file itself says it is.
              (with-open [reader (java.io.PushbackReader. (java.io.FileReader. ^java.io.File file))]
                (let [form (read reader false nil)]
                  (reset! space (if (and (seq? form) (= 'ns (first form))) (find-ns (second form)) *ns*)))))
            (or (public @space "handle")
                (public @space "function")
                (throw (IllegalArgumentException. (str (.getName ^java.io.File file) " has neither handle nor function"))))))]
  (reify java.util.function.BiFunction
    (apply [_ folder handler]
      (let [function (if (= "" handler) (only-file folder) (by-name handler))]
        (reify java.util.function.BiFunction
          (apply [_ context payload]
            (out (function (in context) (in payload)))))))))
