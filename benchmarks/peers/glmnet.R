# R's glmnet: `glmnet`, and `cv.glmnet` with its folds on all cores. Speaks the protocol of benchmarks/worker.py.
#
#     Rscript glmnet.R CORES TYPE        TYPE: "own" for glmnet's own choice of algorithm, or "covariance"
#
# The sequence of strengths is given, so glmnet does not stop early. `thresh` bounds the change of the objective.

suppressMessages({library(glmnet); library(foreach); library(Matrix)})
args <- commandArgs(trailingOnly = TRUE)
cores <- as.integer(args[1])
own_choice <- args[2] == "own"
glmnet.control(fdev = 0, devmax = 1)

# A backend for `foreach`, by which cv.glmnet fits its folds side by side; doMC does the same.
setDoPar(fun = function(obj, expr, envir, data) {
  tasks <- as.list(iterators::iter(obj))
  body <- compiler::compile(expr, env = envir)
  results <- parallel::mclapply(tasks, function(values) {
    list2env(values, envir = envir)
    eval(body, envir = envir)
  }, mc.cores = cores)
  for (one in results) if (inherits(one, "try-error")) stop(one)
  results
}, data = NULL, info = function(data, item) switch(item, workers = cores, name = "mclapply", version = "1"))

read_f64 <- function(name, count) readBin(name, "double", n = count, size = 8)
problem <- NULL
last <- NULL
parallel <- TRUE
chosen <- FALSE

load_problem <- function(r) {
  at <- function(name) file.path(r$folder, name)
  n <- as.integer(r$n); p <- as.integer(r$p); ratios <- as.integer(r$ratios)
  lams <- as.integer(r$lams); fits <- as.integer(r$fits)
  fold_id <- readBin(at("fold_id.i32"), "integer", n = n, size = 4)
  list(kind = r$kind, loss = r$loss, n = n, p = p,
       x = matrix(read_f64(at("X.f64"), n * p), n, p), y = read_f64(at("y.f64"), n),
       lams = matrix(read_f64(at("lams.f64"), ratios * lams), ratios, lams, byrow = TRUE),
       ratios = read_f64(at("ratios.f64"), ratios),
       weights = matrix(read_f64(at("weights.f64"), fits * n), fits, n), fold_id = fold_id)
}

family_of <- function(p) if (p$loss == "logistic") "binomial" else "gaussian"

options_for <- function(p, ratio, lams, tol, generous) {
  common <- list(family = family_of(p), alpha = ratio, lambda = lams, thresh = tol, standardize = FALSE,
                 maxit = if (generous) 1e9 else 1e5)
  if (!own_choice) common$type.gaussian <- "covariance"
  common
}

fit_rows <- function(p, rows, i, tol, generous)
  do.call(glmnet, c(list(x = p$x[rows, , drop = FALSE], y = p$y[rows]),
                    options_for(p, p$ratios[i], p$lams[i, ], tol, generous)))

run <- function(p, tol, generous) {
  if (p$kind == "path")
    return(list(do.call(glmnet, c(list(x = p$x, y = p$y), options_for(p, p$ratios[1], p$lams[1, ], tol, generous)))))
  if (p$kind == "bootstrap")
    return(parallel::mclapply(seq_len(nrow(p$weights)), mc.cores = if (parallel) cores else 1L, function(k)
      fit_rows(p, rep(seq_len(p$n), p$weights[k, ]), 1, tol, generous)))
  lapply(seq_along(p$ratios), function(i)
    do.call(cv.glmnet, c(list(x = p$x, y = p$y, foldid = p$fold_id + 1L, parallel = parallel),
                         options_for(p, p$ratios[i], p$lams[i, ], tol, generous))))
}

# A path that stopped at the limit of iterations is filled up with its last fit; the judge sees how far off that is.
filled <- function(fit, lams) {
  beta <- as.matrix(fit$beta)
  at <- pmin(seq_len(lams), ncol(beta))
  list(beta = beta[, at, drop = FALSE], a0 = as.numeric(fit$a0)[at], short = ncol(beta) < lams)
}

save_answer <- function(p, folder) {
  fits <- last$result
  note <- ""
  if (p$kind == "cv") {
    fits <- unlist(lapply(seq_along(p$ratios), function(i)
      c(list(last$result[[i]]$glmnet.fit),
        parallel::mclapply(2:nrow(p$weights), mc.cores = cores, function(k)
          fit_rows(p, which(p$weights[k, ] > 0), i, last$tol, last$generous)))), recursive = FALSE)
    note <- "folds fitted again to be judged"
  }
  fits <- lapply(fits, filled, lams = ncol(p$lams))
  short <- sum(vapply(fits, function(f) f$short, TRUE))
  if (short > 0) note <- paste0(note, "; ", short, " paths stopped at the limit of iterations")
  writeBin(unlist(lapply(fits, function(f) as.numeric(f$beta))), file.path(folder, "coef.f64"), size = 8)
  writeBin(unlist(lapply(fits, function(f) f$a0)), file.path(folder, "intercept.f64"), size = 8)
  list(first = 0, note = note, own_weights = 0, scaled_target = as.integer(p$loss == "squared"))
}

unsupported <- function(p) {
  if (own_choice) return("")
  if (p$loss != "squared") return("squared loss only")
  if (p$p < 500) return("glmnet's own choice")
  if (p$p >= p$n) return("the Gram is larger than X")
  ""
}

p_is_path <- function(p) p$kind == "path"

timed <- function(tol, generous) {
  before <- Sys.time()
  result <- suppressWarnings(run(problem, tol, generous))
  list(result = result, seconds = as.numeric(difftime(Sys.time(), before, units = "secs")))
}

answer <- function(r) {
  if (r$cmd == "hello")
    return(list(version = paste0(packageVersion("glmnet"), " (R ", getRversion(), ")")))
  if (r$cmd == "load") {
    problem <<- load_problem(r)
    reason <- unsupported(problem)
    if (reason != "") return(list(unsupported = reason))
    parallel <<- cores > 1
    chosen <<- p_is_path(problem)
    return(list(tol = "1e-07"))
  }
  if (r$cmd == "run") {
    tol <- as.numeric(r$tol); generous <- r$generous == "1"
    one <- timed(tol, generous)
    if (!chosen && parallel && one$seconds < 2) {  # forking does not pay for small problems
      parallel <<- FALSE
      other <- timed(tol, generous)
      if (other$seconds < one$seconds) one <- other else parallel <<- TRUE
    }
    chosen <<- TRUE
    last <<- list(result = one$result, tol = tol, generous = generous)
    return(list(seconds = format(one$seconds, digits = 8)))
  }
  if (r$cmd == "save") return(save_answer(problem, r$folder))
  stop(paste("unknown request", r$cmd))
}

input <- file("stdin", "r")
repeat {
  line <- readLines(input, n = 1)
  if (length(line) == 0) break
  pairs <- strsplit(strsplit(line, "\t", fixed = TRUE)[[1]], "=", fixed = TRUE)
  request <- setNames(lapply(pairs, function(kv) paste(kv[-1], collapse = "=")), vapply(pairs, `[`, "", 1))
  if (request$cmd == "quit") break
  reply <- tryCatch(answer(request), error = function(e)
    list(error = substr(gsub("[\n\t]", " ", conditionMessage(e)), 1, 300)))
  cat(paste(names(reply), unlist(reply), sep = "=", collapse = "\t"), "\n", sep = "")
  flush(stdout())
}
