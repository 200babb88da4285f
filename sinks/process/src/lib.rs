//! Functions as local processes: the embedded FaaS driver.
