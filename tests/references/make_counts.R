# Generalized linear models of real counts and claims by R's glm, written to counts.json beside this script.
#
#   Rscript make_counts.R
#
# Needs MASS, which brings along the tables ships, quine and Insurance; quine.csv is written too, for make_families.R.
# - ships: incidents of damage by waves, with months of service. McCullagh & Nelder (1989), "Generalized linear
#   models", 2nd ed., table 6.2; from Lloyd's Register of Shipping.
# - quine: days absent from school. Aitkin (1978), "The analysis of unbalanced cross-classifications", JRSS A 141.
# - insurance: car insurance claims by district, car and age, with policy holders; and car_claims.csv: average cost of
#   claims and their number, by age of owner, model and age of car. Both: Baxter, Coutts & Ross (1980), "Applications
#   of linear models in motor insurance", Proc. 21st International Congress of Actuaries.
# Designs have treatment contrasts. Newton's method runs until rounding stops it.

suppressPackageStartupMessages(library(MASS))
source("json.R")
options(contrasts = c("contr.treatment", "contr.treatment"))

q <- model.matrix(Days ~ Eth + Sex + Age + Lrn, quine)[, -1]
write.csv(data.frame(Days = quine$Days, q), "quine.csv", row.names = FALSE, quote = FALSE)

claims <- read.csv("car_claims.csv", stringsAsFactors = TRUE)
afloat <- subset(ships, service > 0)
afloat$year <- factor(afloat$year)
afloat$period <- factor(afloat$period)

fit <- function(formula, data, family, weights = rep(1, nrow(data)), exposure = rep(1, nrow(data))) {
  x <- model.matrix(formula, data)
  y <- model.response(model.frame(formula, data))
  solve <- function(x) {
    glm.fit(x, y, weights, offset = log(exposure), family = family, control = glm.control(1e-15, 200))
  }
  m <- solve(x)
  list(columns = vec(colnames(x)[-1]), x = unname(x[, -1]), y = vec(y), weight = vec(weights),
       offset = vec(log(exposure)), intercept = unname(coef(m)[1]), coef = vec(coef(m)[-1]), deviance = m$deviance,
       null_deviance = solve(x[, 1, drop = FALSE])$deviance)
}

fits <- list(
  ships = fit(incidents ~ type + year + period, afloat, poisson(), exposure = afloat$service),
  insurance = fit(Claims ~ District + Group + Age, transform(Insurance, Group = factor(Group, ordered = FALSE),
                  Age = factor(Age, ordered = FALSE)), poisson(), exposure = Insurance$Holders),
  car_claims = fit(average_cost ~ owner_age + model + car_age, claims, Gamma("log"), weights = claims$claims)
)
writeLines(to_json(list(software = software("MASS"), fits = fits)), "counts.json")
