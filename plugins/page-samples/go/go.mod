module page-sample

go 1.24
